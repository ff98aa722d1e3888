"""What every command shares: params, locks, and how an error ends it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from cion_core import params, project, work
from cion_core.errors import CionError, printable

DVC_CLEANUP = "`dvc gc -w` removes what no commit needs"
# What to do about the system's errors.
REMEDIES = {
    errno.ENOSPC: f"; make room ({DVC_CLEANUP}) and run it again: what is done is kept",
    errno.EROFS: "; this folder cannot be written, choose another",
    errno.EACCES: "; give this user the right to it, or choose another place",
    errno.ENOTDIR: "; a file is where a folder was expected",
    errno.EISDIR: "; a folder is where a file was expected",
}


@contextmanager
def errors(name: str) -> Iterator[None]:
    """End the process with a message alone, where the user can mend the error.

    These are a CionError, the system's errors, and a lack of memory. Any other error is a bug, and
    is raised.

    Args:
        name: of the command; the message begins with it.
    """
    try:
        yield
    except CionError as error:
        message = str(error)
    except OSError as error:
        # Without a text of the system it is a library's own error.
        if error.strerror is None:
            raise
        place = error.filename or Path.cwd()
        remedy = REMEDIES.get(error.errno, "")
        message = printable(f"{place}: {error.strerror.lower()}{remedy}")
    except MemoryError:
        advice = "give runtime.batch or the range a smaller number"
        message = f"the memory of this machine is full; {advice}"
    else:
        return
    typer.secho(f"{name}: {message}", fg=typer.colors.RED, err=True)
    raise typer.Exit(1)


@contextmanager
def stage(name: str, *sections: str) -> Iterator[project.Params]:
    """Hold a stage's lock while it runs.

    Args:
        name: of the stage.
        sections: of params.yaml that the stage needs; none: all.

    Yields:
        The checked params. A wrong key of any section ends the process before anything is left
        behind.
    """
    with errors(name):
        checked = project.load(params.FILE, *sections)
        with work.exclusive(name):
            yield checked
