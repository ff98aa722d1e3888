"""The files of a folder, and paths to a user's folders that mean the same on each machine."""

from __future__ import annotations

import os
from pathlib import Path


def files(folder: Path | str, suffixes: tuple[str, ...] = ("",)) -> list[Path]:
    """List the files below a folder.

    Args:
        folder: where to look. Links to folders are followed, each once; a link that leads nowhere
            counts as a file. Hidden names are left out.
        suffixes: how names end, in any case.

    Returns:
        Paths that begin with `folder`, sorted.
    """
    found, seen = [], set()
    for here, below, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:  # a link to where we were
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith("."))
        found += [
            Path(here, name)
            for name in names
            if name.lower().endswith(suffixes) and not name.startswith(".")
        ]
    return sorted(found)


def portable(source: Path | str, name: str, root: Path) -> Path:
    """Make a path to a folder of the user's that means the same on each machine.

    Tables travel to other machines. A folder outside the project is reached by the link
    root/sources/NAME, which is made or set right here. So tables say `data/sources/videos/a/1.mp4`
    wherever the footage lies; `cion list` makes the link anew on each machine.

    Args:
        source: the folder, as params.yaml names it.
        name: of the link: "videos", or "benchmarks/NAME".
        root: what stages write below, "data".

    Returns:
        The link; `source` itself where it is a path inside the project.
    """
    source, link = Path(source), root / "sources" / name
    if not source.is_absolute() and ".." not in source.parts:
        return source
    target = os.path.abspath(source)
    if not link.is_symlink() or os.readlink(link) != target:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    return link
