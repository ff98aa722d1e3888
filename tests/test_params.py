from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cion_core import params
from cion_core.errors import CionError


@pytest.fixture
def changed(project: Path, tmp_path: Path) -> Callable[[str, object], Path]:
    """The project's params.yaml with one dotted key set to a value."""

    def change(key: str, value: object) -> Path:
        values = yaml.safe_load((project / "params.yaml").read_text())
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
    assert params.load(project / "params.yaml").denoise.separation_of("video") is None


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("pretrain.methods", ["simclr"], ["pretrain.methods.0", "'dino'", "simclr"]),
        ("pretrain.backbones", ["resnet51"], ["pretrain.backbones.0", "resnet50_ibn", "resnet51"]),
        ("pretrain.batch", 65, ["pretrain", "batch 65", "K = 2"]),
        ("pretrain.steps", "100 epoch", ["pretrain.steps", "epochs$", "100 epoch"]),
        ("pretrain.cion.instances", [[0.5, 4]], ["pretrain.cion", "start at 0.0"]),
        ("extract.detector", "rcnn", ["extract.detector", "'motion', 'hog' or 'yolo'", "rcnn"]),
        ("denoise.separation", -0.1, ["denoise.separation", "greater than 0"]),
        ("denoise.radius", {"videos": 0.1}, ["denoise.radius", "videos"]),
        ("denoise.seperation", 0.1, ["denoise.seperation", "unknown key", "separation"]),
        ("pretrain.head.width", 3, ["pretrain.head.width", "unknown key", "bottleneck"]),
        ("embed.model", "../elsewhere", ["embed.model"]),
        ("finetune.seed", -1, ["finetune.seed", "greater than or equal to 0"]),
    ],
)
def test_an_error_names_the_key_and_what_is_valid(changed: Callable, key: str, value: object, said: list) -> None:
    with pytest.raises(CionError) as error:
        params.load(changed(key, value))
    for words in said:
        assert words in str(error.value)


def test_every_bad_key_is_named_at_once(changed: Callable) -> None:
    path = changed("embed", {"model": "stripes", "batch": 0, "sise": 3})
    with pytest.raises(CionError, match=r"(?s)embed\.batch.*embed\.sise"):
        params.load(path)


def test_thresholds_are_one_number_or_one_per_level(changed: Callable) -> None:
    assert params.load(changed("denoise.separation", 0.2)).denoise.separation_of("cross_video") == 0.2
    by_level = params.load(changed("denoise.separation", {"video": 0.1})).denoise
    assert by_level.separation_of("video") == 0.1
    assert by_level.separation_of("cross_video") is None


def test_stride_must_stay_below_range(changed: Callable) -> None:
    values = yaml.safe_load(changed("denoise.range", 10).read_text())
    values["denoise"]["stride"] = 10
    path = Path(changed("denoise.range", 10))
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(CionError, match="stride 10 must be below range 10"):
        params.load(path)


def test_a_missing_or_torn_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(CionError, match="no such file"):
        params.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1,")
    with pytest.raises(CionError, match="not YAML"):
        params.load(tmp_path / "params.yaml")
