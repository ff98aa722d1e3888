"""A part in one file of the user's: a fixture that conftest files take from here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def own_file(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """own_file(text): write mine.py into the working folder; `mine.Name` means its classes.

    It is forgotten afterwards.
    """
    monkeypatch.syspath_prepend(workspace)
    sys.modules.pop("mine", None)
    yield lambda text: (workspace / "mine.py").write_text(text)
    sys.modules.pop("mine", None)
