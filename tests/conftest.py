"""What every test shares: where the real clips are, and a fresh working folder."""

from __future__ import annotations

from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
CLIPS = PROJECT.parent / "shared" / "data"


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


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, so that work folders and data of a test are its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
