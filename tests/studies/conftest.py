"""The project in miniature with its studies, reproduced once for all tests of this folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from miniature import Project, Whole

STUDIES = {
    "scale": {"shares": [0.5, 1.0], "methods": ["lup", "cion"], "seeds": [0]},
    "denoising": {"levels": ["none", "cross_video", "truth"], "seeds": [0, 1]},
    "few": Whole(
        run="first",
        set={},
        kinds=["identities", "images"],
        shares=[0.7],
        lists={},
        methods=["cion"],
        seeds=[0],
    ),
}


@pytest.fixture(scope="session")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Reproduced, with small studies of which none has been run."""
    source = Path(__file__).parents[2]
    project = Project(source, tmp_path_factory.mktemp("studied"))
    shutil.copytree(
        source / "studies", project.folder / "studies", ignore=shutil.ignore_patterns("dvc.lock")
    )
    project.change("studies/params.yaml", STUDIES)
    project.run("dvc", "repro")
    project.untouched = not (project.folder / "data/studies").exists()
    return project
