"""What every command shares: params, locks, and how an error ends it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from cion_core import params, project, work
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
def stage(name: str, *sections: str) -> Iterator[project.Params]:
    """The checked params, of which the stage needs these `sections` (none: all), and the stage's lock.

    A wrong key of any section ends it before anything is left behind.
    """
    with errors(name):
        p = project.load(params.FILE, *sections)
        with work.exclusive(name):
            yield p
