"""params.yaml as a file: its sections by name.

What a section holds, each room says itself (`cion_core.project`).
"""

from __future__ import annotations

from collections.abc import Iterator
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
    wrong = [
        f"  {name}: must be a section of keys, found {str(value)[:SHOWN]!r}"
        for name, value in values.items()
        if not isinstance(value, dict)
    ]
    wrong += [
        f"  {key}: the last key must be text; write it in quotes" for key in _keys_not_text(values)
    ]
    if wrong:
        raise CionError(f"{path}:\n" + "\n".join(wrong))
    return values


def _keys_not_text(values: Any, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the keys at any depth that YAML takes for a number, a date or a truth value.

    Each is given with those above it, by dots.
    """
    if isinstance(values, list):
        values = {str(place): value for place, value in enumerate(values)}
    if isinstance(values, dict):
        for key, value in values.items():
            keys = (*above, str(key))
            if not isinstance(key, str):
                yield ".".join(keys)
            yield from _keys_not_text(value, keys)
