"""Settings for a kind of machine: a file of profiles/ that goes into params.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedBase

from cion_core import params, project
from cion_core.errors import CionError
from cion_core.work import atomic

FOLDER = Path("profiles")


def apply(name: str, path: Path = params.FILE, folder: Path = FOLDER) -> list[str]:
    """Write a profile into params.yaml.

    Args:
        name: of the profile.
        path: params.yaml.
        folder: where profiles are.

    Returns:
        A line "key: before -> now" for each change.

    Raises:
        CionError: no such profile, or params.yaml would not be valid with it; it is then left as it
            was.
    """
    source = folder / f"{name}.yaml"
    if not source.is_file():
        valid = ", ".join(sorted(file.stem for file in folder.glob("*.yaml"))) or "none"
        raise CionError(f"{source}: no such profile; valid: {valid}")
    # Their faults are named by the same reader as everywhere.
    params.read(path)
    params.read(source)
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 1000
    values, wanted = yaml.load(path), yaml.load(source)
    changes = list(_merge(values, wanted))
    with atomic(path) as temporary:
        yaml.dump(values, temporary)
        project.load(temporary)
    return changes


def _merge(into: MutableMapping, wanted: Mapping, prefix: str = "") -> Iterator[str]:
    for key, value in wanted.items():
        before = into.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            yield from _merge(before, value, f"{prefix}{key}.")
        elif before != value:
            yield f"{prefix}{key}: {_plain(before)} -> {_plain(value)}"
            into[key] = value


def _plain(value: object) -> object:
    """Without what ruamel adds."""
    if isinstance(value, CommentedBase):
        return [_plain(item) for item in value] if isinstance(value, list) else dict(value)
    return value
