"""What the tests of the commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from made_up import here, root  # noqa: F401
from own_parts import own_file  # noqa: F401
from typer.testing import CliRunner

from cion_core.cli import app

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def cion() -> Command:
    """cion("denoise", "video"): run a command in this process.

    Gives its exit code, and stdout and stderr as one text.
    """

    def run(*words: object) -> tuple[int, str]:
        done = CliRunner().invoke(
            app, [str(word) for word in words], env={"COLUMNS": "300", "TERM": "dumb"}
        )
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception  # what a user would see as a traceback
        return done.exit_code, done.output

    return run


@pytest.fixture
def params(project: Path, workspace: Path) -> Path:
    """The project's params.yaml, copied into an empty working folder."""
    path = workspace / "params.yaml"
    path.write_text((project / "params.yaml").read_text())
    return path
