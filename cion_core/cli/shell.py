"""What every command shares: params, locks, and how an error ends it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from cion_core import project, work
from cion_core.errors import CionError


@contextmanager
def errors(name: str) -> Iterator[None]:
    """A CionError ends the process with its message alone."""
    try:
        yield
    except CionError as error:
        typer.secho(f"{name}: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None


@contextmanager
def stage(name: str) -> Iterator[project.Params]:
    """The checked params of the whole project, and this stage's lock; a wrong key leaves nothing behind."""
    with errors(name):
        p = project.load()
        with work.exclusive(name):
            yield p
