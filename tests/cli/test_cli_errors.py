"""How commands end: errors said in words, exit code 1, nothing begun; and how a process begins."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cion_core import cli
from cion_core.config import load_yaml
from cion_core.project import Params

STAGES = {
    "list": [],
    "ingest": [],
    "extract": [],
    "embed": [],
    "denoise": ["video"],
    "audit": [],
    "benchmark": ["demo"],
    "pretrain": ["cion", "resnet10_ibn"],
    "start": ["mgn"],
    "finetune": ["mgn", "cion", "resnet10_ibn"],
    "evaluate": ["demo", "stripes"],
    "compare": [],
}


def process(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess:
    """Python in a fresh environment, with the project to be imported."""
    environment = {
        "PYTHONPATH": str(Path(cli.__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_the_stages_are_those_of_dvc(project: Path) -> None:
    assert {*re.findall(r"cmd: cion (\w+)", (project / "dvc.yaml").read_text())} == set(STAGES)


@pytest.mark.parametrize("section", [*Params.model_fields, "reciprocal"])
@pytest.mark.parametrize("name", STAGES)
def test_a_wrong_key_of_any_section_stops_every_stage(
    params: Path, cion: Callable, name: str, section: str
) -> None:
    values = load_yaml(params)
    place = values["denoise"] if section == "reciprocal" else values
    place[section]["sede"] = 0
    params.write_text(yaml.safe_dump(values))
    code, output = cion(name, *STAGES[name])
    key = f"denoise.{section}.sede" if section == "reciprocal" else f"{section}.sede"
    assert code == 1 and re.match(
        rf"{name}\S*: params.yaml:\n  {key}: unknown key; valid: \w+", output
    )
    assert os.listdir(params.parent) == ["params.yaml"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"deploy": {}}, "deploy: unknown key; valid: ingest, extract"),
        ({"embed": None}, "embed: must be a section of keys"),
        (
            {"runtime": {"device": "tpu"}},
            "runtime.device: must be 'auto', 'cpu' or 'cuda', found 'tpu'",
        ),
    ],
)
def test_a_wrong_section_or_value_stops_a_stage(
    params: Path, cion: Callable, change: dict, says: str
) -> None:
    params.write_text(yaml.safe_dump(load_yaml(params) | change))
    code, output = cion("ingest")
    assert code == 1 and says in output
    assert os.listdir(params.parent) == ["params.yaml"]


def test_a_stage_outside_of_a_project_says_so(workspace: Path, cion: Callable) -> None:
    assert cion("extract") == (
        1,
        "extract: params.yaml: no such file; run from the project's root\n",
    )
    assert os.listdir(workspace) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["pretrain", "nought", "resnet10_ibn"],
            "pretrain.methods: unknown pre-training method 'nought'; valid are",
        ),
        (["pretrain", "cion", "resnet11"], "unknown backbone 'resnet11'; valid: resnet10_ibn"),
        (["extract"], "data/raw/videos.parquet: no such file"),
        (["why", "3"], "data/tracklets/crops.parquet: no such file"),
        (["show"], "data/reports/comparison.md: not there yet"),
        (["sanity", "none"], "none: no such model; valid: a model folder"),
        (["profile", "large"], "profiles/large.yaml: no such profile"),
        (["zoo", "resnet51"], "resnet51"),
    ],
)
def test_what_is_missing_is_named(
    params: Path, cion: Callable, words: list[str], says: str
) -> None:
    code, output = cion(*words)
    assert code == 1 and says in output and output.startswith(words[0])
    assert not (params.parent / "data").exists()


@pytest.mark.parametrize(
    "words", [["embed", "a.jpg"], ["embed", "--out", "a.npy"], ["pretrain", "cion"], ["denoises"]]
)
def test_wrong_use_is_exit_code_2(params: Path, cion: Callable, words: list[str]) -> None:
    assert cion(*words)[0] == 2
    assert os.listdir(params.parent) == ["params.yaml"]


def test_an_error_is_its_message_alone(workspace: Path) -> None:
    words = (
        "-m",
        "cion_core.cli",
        "denoise",
        "--crops",
        "none.csv",
        "--features",
        "a.npy",
        "--out",
        "out",
    )
    done = process(workspace, *words)
    assert done.returncode == 1 and done.stdout == ""
    assert re.fullmatch(r"denoise: none\.csv: no such file or folder; valid: [^\n]+\n", done.stderr)


def test_the_entry_point_prepares_opencv_and_torch_before_they_are_imported(
    project: Path, workspace: Path
) -> None:
    entry = tomllib.loads((project / "pyproject.toml").read_text())["project"]["scripts"]["cion"]
    assert entry == "cion_core.cli:main"
    code = (
        "import os, sys; from cion_core import cli; slow = {'cv2', 'torch', 'mlflow'} & "
        "set(sys.modules)\ncli.app = lambda: print(os.environ['OPENCV_LOG_LEVEL'], "
        "os.environ['OMP_WAIT_POLICY'], *slow)\ncli.main()"
    )
    assert process(workspace, "-c", code).stdout == "ERROR passive\n"
    wanted = {"OPENCV_LOG_LEVEL": "DEBUG", "OMP_WAIT_POLICY": "active"}
    assert process(workspace, "-c", code, **wanted).stdout == "DEBUG active\n"
