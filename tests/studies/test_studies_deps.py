"""studies/dvc.yaml names the code of the stages that a study runs, and their settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from cion_core.config import load_yaml

RUNS = {  # a study's stage, and the stages of dvc.yaml that it runs in a folder of its own
    "scale-data": ["denoise"],
    "scale-point": ["pretrain", "evaluate"],
    "denoising-data": [],
    "denoising-point": ["pretrain", "evaluate"],
    "few-data": [],
    "few-point": ["finetune", "evaluate"],
    "scale": [],
    "denoising": [],
    "few": [],
}


def body(file: Path, stage: str) -> dict:
    found = load_yaml(file)["stages"][stage]
    return found.get("do", found)


def code(deps: list[str]) -> set[str]:
    return {dep for dep in deps if dep.startswith("cion_core/")}


def covered(files: set[str], by: set[str]) -> set[str]:
    return {
        file for file in files if file in by or any(file.startswith(f"{folder}/") for folder in by)
    }


def test_every_stage_is_known_here(project: Path) -> None:
    assert set(load_yaml(project / "studies/dvc.yaml")["stages"]) == set(RUNS)


@pytest.mark.parametrize("stage", RUNS)
def test_a_stage_depends_on_the_code_that_it_runs(project: Path, stage: str) -> None:
    found, study = code(body(project / "studies/dvc.yaml", stage)["deps"]), stage.partition("-")[0]
    wanted = {
        f"cion_core/studies/kinds/{study}.py",
        "cion_core/studies/stage.py",
        "cion_core/studies/kinds/base.py",
    }
    for name in RUNS[stage]:
        wanted |= code(body(project / "dvc.yaml", name)["deps"])
    assert wanted - covered(wanted, found) == set()
    assert [path for path in found if not (project / path).exists()] == []


@pytest.mark.parametrize("stage", ["scale-point", "denoising-point"])
def test_a_training_depends_on_the_settings_that_the_main_one_does_but_for_the_seed(
    project: Path, stage: str
) -> None:
    found = body(project / "studies/dvc.yaml", stage)["params"]
    wanted = set(body(project / "dvc.yaml", "pretrain")["params"]) - {
        "pretrain.seed",
        "pretrain.${item.method}",
    }
    assert wanted <= {name for name in found if isinstance(name, str)}
