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
    ordered = table.sort_values(["identity", "path"])
    annotations = [
        {"file_path": str(image), "id": int(identity)}
        for image, identity in zip(ordered["path"], ordered["identity"], strict=True)
    ]
    work.write_json(path, annotations)
