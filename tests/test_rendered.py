"""The one door to the demo world."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cion_core import rendered
from cion_core.errors import CionError


def test_a_folder_with_a_world_yaml_is_a_world(project: Path, tmp_path: Path) -> None:
    assert rendered.is_world(project / "demo") and rendered.is_world(str(project / "demo"))
    assert not rendered.is_world(tmp_path)


@pytest.mark.parametrize("render", [rendered.videos, rendered.benchmark])
def test_a_world_that_is_not_valid_is_named_and_nothing_is_rendered(render, tmp_path: Path) -> None:
    (tmp_path / "world.yaml").write_text("seed: 0\n")
    with pytest.raises(CionError, match=r"world\.yaml:\n  frame: is missing"):
        render(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_world_without_videos_has_none_to_ask_for(project: Path, tmp_path: Path) -> None:
    with pytest.raises(
        CionError,
        match=r"elsewhere/world\.yaml: no section videos, so this world has a benchmark alone",
    ):
        rendered.videos(project / "demo/elsewhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_drawn_people_are_the_same_each_time_and_others_for_another_seed() -> None:
    first, again, other = (
        rendered.people(2, 3),
        rendered.people(2, 3),
        rendered.people(2, 3, seed=1),
    )
    assert len(first) == 6 and all(
        image.dtype == np.uint8 and image.shape[2] == 3 for image in first
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_nothing_of_the_world_is_imported_before_it_is_asked_for(project: Path) -> None:
    code = (
        "import sys, cion_core.rendered, cion_core.ingest.stage; print('demo_world' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
