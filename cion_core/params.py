"""params.yaml as a file: its sections by name.

What a section holds, each room says itself (`cion_core.project`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cion_core.config import load_yaml
from cion_core.errors import CionError

FILE = Path("params.yaml")
SHOWN = 60  # letters of what is there instead


def read(path: Path | str = FILE) -> dict[str, dict[str, Any]]:
    """The sections of the file, each a mapping; CionError where it is none."""
    values = load_yaml(path)
    if not isinstance(values, dict):
        found = "it is empty" if values is None else f"found {str(values)[:SHOWN]}"
        raise CionError(f"{path}: must hold sections by name; {found}")
    wrong = [f"  {name}: must be a section of keys, found {value!r}"
             for name, value in values.items() if not isinstance(value, dict)]  # fmt: skip
    if wrong:
        raise CionError(f"{path}:\n" + "\n".join(wrong))
    return values
