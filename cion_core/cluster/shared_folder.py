"""The one folder that all machines of a cluster see: whether each sees it, and the same code."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cion_core import work
from cion_core.errors import CionError

CODE = Path(__file__).parent.parent  # cion_core
# Within these a file that another machine has written is seen here; NFS takes up to 60.
SIGHT_SECONDS = 120.0
# Between two looks for it.
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class SharedFolder:
    """A project's folder, as the machine that runs the stage sees it.

    Attributes:
        path: where it is on every machine.
        token: a file in it that was written a moment ago.
        code: the hash of CION's own files.
    """

    path: Path
    token: Path
    code: str

    def enter(self, machine: str) -> None:
        """Make it the current folder of this process.

        Raises:
            CionError: `machine`, which is this one, has no such folder, or another one, or another
                CION.
        """
        if not (self.path / self.token).is_file():
            raise CionError(
                f"runtime.engine: ray: machine {machine} of the cluster does not see {self.path} "
                "as this one does; the project and the clips must lie on a disk that all "
                "machines share, at the same path (docs/scale.md)"
            )
        if hash_of_code() != self.code:
            raise CionError(
                f"runtime.engine: ray: machine {machine} of the cluster runs another CION, from "
                f"{CODE}; install the same revision on all machines, then start Ray there anew"
            )
        os.chdir(self.path)


@contextmanager
def shared_folder() -> Iterator[SharedFolder]:
    """The current folder; its token is gone afterwards."""
    token = work.folder("cluster", "tokens") / secrets.token_hex(8)
    token.touch()
    try:
        yield SharedFolder(Path.cwd(), token, hash_of_code())
    finally:
        token.unlink()


def hash_of_code() -> str:
    """Of all files of CION's that compute something."""
    return work.key("cion", *sorted(CODE.rglob("*.py")))


def wait_for_files(paths: Iterable[Path]) -> None:
    """Return once all files that other machines have written are seen here.

    A network disk shows them late.

    Args:
        paths: the files.

    Raises:
        CionError: one does not come into sight.
    """
    deadline = time.monotonic() + SIGHT_SECONDS
    for path in paths:
        while not path.is_file():
            if time.monotonic() > deadline:
                raise CionError(
                    f"runtime.engine: ray: another machine has written {path}, and it does not "
                    "come into sight here; the project must lie on a disk that all machines "
                    "share (docs/scale.md)"
                )
            time.sleep(LOOK_SECONDS)
