"""What every command shares: params, locks, and how an error ends it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from cion_core import params, project, work
from cion_core.errors import CionError, printable


@contextmanager
def errors(name: str) -> Iterator[None]:
    """An error that a user can put right ends the process with its message alone: a CionError, or the system's."""
    try:
        yield
    except CionError as error:
        message = str(error)
    except OSError as error:  # a full disk, a folder that may not be written, a file where a folder was expected
        if error.strerror is None:
            raise
        message = printable(f"{error.filename or Path.cwd()}: {error.strerror.lower()}{REMEDIES.get(error.errno, '')}")
    except MemoryError:
        message = "the memory of this machine is full; give runtime.batch or the range a smaller number"
    else:
        return
    typer.secho(f"{name}: {message}", fg=typer.colors.RED, err=True)
    raise typer.Exit(1)


REMEDIES = {
    errno.ENOSPC: "; make room (`dvc gc -w` removes what no commit needs) and run it again: what is done is kept",
    errno.EROFS: "; this folder cannot be written, choose another",
    errno.EACCES: "; give this user the right to it, or choose another place",
    errno.ENOTDIR: "; a file is where a folder was expected",
    errno.EISDIR: "; a folder is where a file was expected",
}


@contextmanager
def stage(name: str, *sections: str) -> Iterator[project.Params]:
    """The checked params, of which the stage needs these `sections` (none: all), and the stage's lock.

    A wrong key of any section ends it before anything is left behind.
    """
    with errors(name):
        p = project.load(params.FILE, *sections)
        with work.exclusive(name):
            yield p
