"""CION-AL's annotations: which identity an image shows, as CION's training script reads it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cion_core import work


def write(path: Path | str, table: pd.DataFrame) -> None:
    """Write a JSON list of {"file_path": str, "id": int}.

    Ordered by identity and then path, as CION-AL itself is by id.

    Args:
        path: the file.
        table: columns path and identity.
    """
    table = table.sort_values(["identity", "path"])
    pairs = zip(table.path, table.identity, strict=True)
    work.write_json(path, [{"file_path": str(name), "id": int(number)} for name, number in pairs])
