"""`cion identify` from this project's wheel: what a user has who never saw a checkout."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

# What a wheel is built from. Built in a copy: setuptools leaves files beside its sources.
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "cion_core", "demo_world", "flows")
RED, BLUE = (20, 20, 230), (230, 30, 20)

pytestmark = pytest.mark.slow


def call(*words: object, folder: Path | None = None) -> subprocess.CompletedProcess:
    """Run a command that knows of no checkout: nothing but what is installed can be imported."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    line = [str(word) for word in words]
    done = subprocess.run(
        line, capture_output=True, text=True, check=False, cwd=folder, env=environment, timeout=900
    )
    assert done.returncode == 0, f"{line}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done


def build_wheel(project: Path, folder: Path) -> Path:
    """The wheel of the project's sources, built without network."""
    copied = folder / "sources"
    copied.mkdir()
    for name in SOURCES:
        if (project / name).is_dir():
            unwanted = shutil.ignore_patterns("__pycache__")
            shutil.copytree(project / name, copied / name, ignore=unwanted)
        else:
            shutil.copy(project / name, copied)
    words = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    call(sys.executable, "-m", "pip", "wheel", *words, "--wheel-dir", folder, copied)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command `cion` of a fresh environment with the wheel and the dependencies of this one.

    The dependencies are on the path through a .pth file. One inside of their folder is not read
    from there, so an editable install of the project is not seen.
    """
    folder = tmp_path_factory.mktemp("installed")
    wheel = build_wheel(Path(__file__).parents[2], folder)
    call(sys.executable, "-m", "venv", "--without-pip", folder / "fresh")
    python = folder / "fresh/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install"]
    call(*pip, "--no-deps", "--no-index", "--quiet", wheel)
    (packages,) = (folder / "fresh/lib").glob("python*/site-packages")
    dependencies = [path for path in site.getsitepackages() if Path(path).is_dir()]
    (packages / "dependencies.pth").write_text("\n".join(dependencies))
    return folder / "fresh/bin/cion"


def test_the_wheel_alone_identifies_people(
    installed: Path, workspace: Path, film: Callable[..., Path]
) -> None:
    people = [(RED, 10, 4.0), (BLUE, 120, 3.0)]
    clips = [film(workspace / camera / "clip.mp4", people) for camera in ("door", "hall")]
    python = installed.with_name("python")
    home = call(python, "-c", "import cion_core; print(cion_core.__file__)", folder=workspace)
    assert Path(home.stdout.strip()).is_relative_to(installed.parents[1])

    done = call(installed, "identify", *clips, "--out", "out", "--draw", folder=workspace)
    assert "colours of clothes alone" in done.stdout  # the model that ships
    found = pd.read_parquet("out/identities.parquet")
    assert sorted(found.video.unique()) == ["door/clip.mp4", "hall/clip.mp4"]
    page = Path("out/index.html").read_text()
    assert page.count("<article") == found.identity.nunique()
    for camera in ("door", "hall"):
        assert Path(f"out/drawn/{camera}/clip.mp4").stat().st_size > 1000
