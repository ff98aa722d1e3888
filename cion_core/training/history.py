"""The rows of a training's history on disk.

They are appended to a file, so that a checkpoint after 400,000 steps is not slow.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from cion_core.errors import CionError
from cion_core.training import ranks
from cion_core.work import atomic

FILE = "history.jsonl"
# One step: step, loss, the rates, what the learner watches, and at times what the probe saw.
HistoryRow = dict[str, float]


class History:
    """One row a step, in memory and as a line of JSON in `folder`, beside the checkpoints.

    A checkpoint holds the file's length at its time. What a killed run wrote after that is cut off.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.rows: list[HistoryRow] = []
        self._written = 0  # rows that are in the file

    def append(self, row: HistoryRow) -> None:
        """Add the row of the next step; it is on disk after `write`."""
        self.rows.append(row)

    def write(self) -> int:
        """Append the new rows to the file, down to the disk; returns its length in bytes."""
        with open(self.path, "ab") as file:
            file.writelines(_to_line(row) for row in self.rows[self._written :])
            file.flush()
            os.fsync(file.fileno())
            length = file.tell()
        self._written = len(self.rows)
        return length

    def restart(self) -> None:
        """Begin without a row; remove what a run killed before its first checkpoint has left."""
        if ranks.rank() == 0:
            self.path.unlink(missing_ok=True)

    def resume(self, step: int, length: int, owner: int) -> None:
        """Go on after the rows of a checkpoint.

        Args:
            step: how many there are.
            length: bytes that these rows take in the file.
            owner: the process whose file it is. All processes are given its rows; the first one
                writes its own file of them.

        Raises:
            CionError: the file is not there, or is not what the checkpoint says.
        """
        own = self._read(step, length) if ranks.rank() == owner else []
        self.rows = ranks.broadcast(own, source=owner)
        if ranks.rank() == 0:
            with atomic(self.path) as temporary:
                temporary.write_bytes(b"".join(map(_to_line, self.rows)))
        self._written = len(self.rows)

    def _read(self, step: int, length: int) -> list[HistoryRow]:
        content = self.path.read_bytes()[:length] if self.path.is_file() else b""
        lines = content.splitlines()
        if len(content) < length or len(lines) != step:
            raise CionError(
                f"{self.path}: holds {len(lines)} of the {step} rows that the checkpoint beside "
                "it goes on from; put the file back, or remove the folder to begin anew"
            )
        return [json.loads(line) for line in lines]


def _to_line(row: HistoryRow) -> bytes:
    return json.dumps(row).encode() + b"\n"  # a float is written so that the same one is read
