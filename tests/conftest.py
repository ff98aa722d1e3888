"""What every test shares: where the real clips are, and a fresh working folder."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import settings

from cion_core.runtime import Runtime

PROJECT = Path(__file__).parent.parent
CLIPS = PROJECT.parent / "shared" / "data"

# Hypothesis allows an example 200 ms unless it is told otherwise, which a busy machine exceeds.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
def project() -> Path:
    """The project's root."""
    return PROJECT


@pytest.fixture
def clips() -> Path:
    """The folder of real clips, which only the makers' machines have."""
    if not CLIPS.is_dir():
        pytest.skip(f"no real clips: {CLIPS} is absent")
    return CLIPS


@pytest.fixture(scope="session")
def bench() -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of bench/ by its name."""
    folder = str(PROJECT / "bench")
    sys.path.insert(0, folder)
    yield importlib.import_module
    sys.path.remove(folder)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, so that work folders and data of a test are its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small nets gain nothing from a second thread, and lose much beside other tests."""
    import torch  # takes a second, which few tests need

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Recorder:
    """Stands in for an MLflow run."""

    def __init__(self) -> None:
        self.rows: dict[int, dict] = {}
        self.files: list[str] = []

    def metrics(self, values: dict, step: int) -> None:
        self.rows[step] = values

    def artifact(self, path: Path) -> None:
        self.files.append(Path(path).name)

    def model(self, model, example: np.ndarray, card: dict) -> None:
        self.example, self.card = example, card


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Recorder]:
    """The runs that stages record, in place of MLflow."""
    runs = []

    @contextmanager
    def run(kind, name, key, settings, tags=None):
        runs.append(Recorder())
        yield runs[-1]

    monkeypatch.setattr("cion_core.tracking.run", run)
    return runs


@pytest.fixture
def runtime() -> Callable[..., Runtime]:
    """How trainings of tests are run, with the changes that one asks for."""
    return lambda **changes: Runtime(
        **{"device": "cpu", "checkpoint_every": 2, "watch_every": 3} | changes
    )
