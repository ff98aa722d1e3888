"""The project in miniature, reproduced once by `dvc repro` for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from miniature import Project


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(Path(__file__).parents[2], tmp_path_factory.mktemp("project"))
    project.run("dvc", "repro")
    return project
