"""The rows of a training's history on disk: appended to, so that a checkpoint after 400,000 steps
is not slow.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from cion_core.errors import CionError
from cion_core.training import ranks
from cion_core.work import atomic

FILE = "history.jsonl"
Row = dict[
    str, float
]  # step, loss, the rates, what the learner watches, and at times what the probe saw


class History:
    """One row a step, in memory and as a line of JSON in `folder`, beside the checkpoints.

    A checkpoint holds the file's length at its time. What a killed run wrote behind that is cut
    off.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.rows: list[Row] = []
        self._written = 0  # rows that are in the file

    def append(self, row: Row) -> None:
        """Add the row of the next step; it is on disk after `write`."""
        self.rows.append(row)

    def write(self) -> int:
        """Append what is new to the file, down to the disk; the length of the file in bytes."""
        with open(self.path, "ab") as file:
            file.writelines(_line(row) for row in self.rows[self._written :])
            file.flush()
            os.fsync(file.fileno())
            length = file.tell()
        self._written = len(self.rows)
        return length

    def restart(self) -> None:
        """Begin without a row, whatever a run that was killed before its first checkpoint has
        left.
        """
        if ranks.rank() == 0:
            self.path.unlink(missing_ok=True)

    def resume(self, step: int, length: int, owner: int) -> None:
        """Go on behind the rows of `step` steps, which are the first `length` bytes of the file.

        owner: the process whose file it is; the first one, which goes on with it, is given its
        rows.

        Raises:
            CionError: the file is not there, or is not what the checkpoint says.
        """
        self.rows = ranks.told(self._read(step, length) if ranks.rank() == owner else [], by=owner)
        if ranks.rank() == 0:
            with atomic(self.path) as temporary:
                temporary.write_bytes(b"".join(map(_line, self.rows)))
        self._written = len(self.rows)

    def _read(self, step: int, length: int) -> list[Row]:
        content = self.path.read_bytes()[:length] if self.path.is_file() else b""
        lines = content.splitlines()
        if len(content) < length or len(lines) != step:
            raise CionError(
                f"{self.path}: holds {len(lines)} of the {step} rows that the checkpoint beside "
                "it goes on from; put the file back, or remove the folder to begin anew"
            )
        return [json.loads(line) for line in lines]


def _line(row: Row) -> bytes:
    return json.dumps(row).encode() + b"\n"  # a float is written so that the same one is read
