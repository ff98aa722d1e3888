from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cion_core import config
from cion_core import project as whole
from cion_core.config import load_yaml
from cion_core.errors import CionError


@pytest.fixture
def changed(project: Path, tmp_path: Path) -> Callable[[str, object], Path]:
    """The project's params.yaml with one dotted key set to a value."""

    def change(key: str, value: object) -> Path:
        values = load_yaml(project / "params.yaml")
        *sections, last = key.split(".")
        place = values
        for section in sections:
            place = place[section]
        place[last] = value
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return change


def test_the_projects_own_file_is_valid(project: Path) -> None:
    p = whole.load(project / "params.yaml")
    assert p.denoise.separation.video == "auto" and p.runtime.device == "auto"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("pretrain.methods", ["simclr"], ["pretrain.methods", "dino", "simclr", "import path"]),
        ("pretrain.backbones", ["resnet51"], ["pretrain.backbones.0", "resnet50_ibn", "resnet51"]),
        ("pretrain.batch", 65, ["pretrain", "batch 65", "K = 2"]),
        ("pretrain.steps", "100 epoch", ["pretrain.steps", "epochs$", "100 epoch"]),
        ("pretrain.cion.instances", [[0.5, 4]], ["pretrain.cion", "start at 0.0"]),
        ("pretrain.lup.lr", 0, ["pretrain.lup.lr", "must be above 0"]),
        ("pretrain.lup.rate", 1, ["pretrain.lup.rate", "unknown key", "temperature"]),
        ("pretrain.simclr", {}, ["pretrain.simclr", "unknown key", "dino"]),
        ("extract.detector", "rcnn", ["extract.detector", "hog, motion, onnx, yolo", "rcnn"]),
        (
            "extract.tracker",
            "deepsort",
            ["extract.tracker", "botsort, bytetrack, cbiou", "deepsort"],
        ),
        ("extract.sort.overlap", 2, ["extract.sort.overlap", "must be at most 1"]),
        ("denoise.linking", "nearest", ["denoise.linking", "published, reciprocal", "nearest"]),
        ("benchmark.layout", "duke", ["benchmark.layout", "market1501", "duke"]),
        ("finetune.runs.mgn.recipe", "gan", ["finetune.runs", "bag_of_tricks", "gan"]),
        (
            "finetune.runs.mgn.on",
            "market",
            ["finetune.runs.mgn.on", "no benchmark market", "demo, elsewhere"],
        ),
        (
            "finetune.runs.mgn.from",
            "finetune/first",
            ["finetune", "no run first", "supervised", "pretrain"],
        ),
        ("finetune.runs.mgn.from", "finetune/mgn", ["finetune", "mgn from mgn is a circle"]),
        (
            "finetune.runs.mgn.set",
            {"eps": 0.7},
            ["finetune", "runs.mgn.set", "eps: unknown key", "freeze"],
        ),
        ("finetune.runs.mgn.from", "data/x", ["finetune.runs.mgn.from", "pretrain|finetune"]),
        (
            "finetune.runs.frozen",
            {"recipe": "mgn", "on": "demo", "from": "pretrain"},
            ["finetune", "frozen is what"],
        ),
        ("benchmark.sources", {"a/b": "demo"}, ["benchmark.sources"]),
        ("denoise.separation.video", -0.1, ["denoise.separation.video", "must be above 0"]),
        ("denoise.separation", 0.2, ["denoise.separation", "0.2"]),
        ("runtime.device", "tpu", ["runtime.device", "'cuda'", "tpu"]),
        ("denoise.radius", {"videos": 0.1}, ["denoise.radius", "videos"]),
        ("denoise.seperation", 0.1, ["denoise.seperation", "unknown key", "separation"]),
        ("pretrain.head.width", 3, ["pretrain.head.width", "unknown key", "bottleneck"]),
        ("embed.model", "../elsewhere", ["embed.model"]),
        ("finetune.seed", -1, ["finetune.seed", "must be at least 0"]),
    ],
)
def test_an_error_names_the_key_and_what_is_valid(
    changed: Callable, key: str, value: object, said: list
) -> None:
    with pytest.raises(CionError) as error:
        whole.load(changed(key, value))
    for words in said:
        assert words in str(error.value)


def test_every_bad_key_is_named_at_once(changed: Callable) -> None:
    path = changed("embed", {"model": "a/b", "balance": True, "sise": 3})
    with pytest.raises(CionError, match=r"(?s)embed\.model.*embed\.sise"):
        whole.load(path)


def test_stride_must_stay_below_range(changed: Callable) -> None:
    values = load_yaml(changed("denoise.range", 10))
    values["denoise"]["stride"] = 10
    path = Path(changed("denoise.range", 10))
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(CionError, match="stride 10 must be below range 10"):
        whole.load(path)


def test_a_missing_or_torn_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(CionError, match="no such file"):
        whole.load(tmp_path / "params.yaml")
    for text, said in (
        ("[1, 2]", "must hold sections by name"),
        ("# nothing yet", "must hold sections by name; it is empty"),
        ("ingest: demo", "ingest: must be a section of keys"),
        ("ingest: {a: [{true: 1}]}", r"ingest\.a\.0\.True: the last key must be text; write it in"),
        ("2024: {a: 1}", "2024: the last key must be text; write it in quotes"),
        (
            "ingest:\n  source: a\n  source: b\n",
            r"line 3, column 3: not YAML: source is there twice",
        ),
    ):
        (tmp_path / "params.yaml").write_text(text)
        with pytest.raises(CionError, match=said):
            whole.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1,")
    with pytest.raises(CionError, match="not YAML"):
        whole.load(tmp_path / "params.yaml")


def test_what_was_found_right_is_not_checked_whole_again(
    changed: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = changed("extract.rate", 7)
    assert whole.load(path, "extract").extract.rate == 7
    seen = []
    real = config.checked
    monkeypatch.setattr(
        config, "checked", lambda values, *rest: seen.append(set(values)) or real(values, *rest)
    )
    p = whole.load(path, "extract")
    assert p.extract.rate == 7 and p.runtime.device == "auto" and not hasattr(p, "pretrain")
    whole.load(changed("extract.rate", 8), "extract")
    assert seen[0] == {"extract", "runtime"} and "pretrain" in seen[1], (
        "another file is checked whole"
    )
    with pytest.raises(CionError, match=r"pretrain\.lup\.lr"):
        whole.load(changed("pretrain.lup.lr", 0), "extract")
    with pytest.raises(CionError, match=r"pretrain\.lup\.lr"):
        whole.load(changed("pretrain.lup.lr", 0), "extract")  # and what was wrong stays wrong
