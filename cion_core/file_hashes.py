"""The files of a folder by their hashes; what has not changed is not read again."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cion_core import progress, work
from cion_core.errors import is_unicode, printable

# Below .cion: {absolute path: [size, time of change in ns, inode, SHA-256]}.
HASHES = Path("hashes.json")
NOT_UTF8 = "its name is not UTF-8"
NOT_REGULAR = "not a regular file"


def describe_files(folder: Path, paths: list[Path]) -> list[dict]:
    """Describe files of a folder by their names, sizes and hashes.

    A file is hashed only if its size, time or inode is another than when it was hashed before.

    Args:
        folder: the folder.
        paths: files in it.

    Returns:
        {name (relative), size, sha256} of each file; {name, reason} where it cannot be read, in the
        system's words.
    """
    memory = work.ROOT / HASHES
    known = json.loads(memory.read_text(encoding="utf-8")) if memory.is_file() else {}
    fresh: dict[str, list] = {}

    def describe(path: Path) -> dict:
        name = path.relative_to(folder).as_posix()
        if not is_unicode(name):
            return {"name": printable(name), "reason": NOT_UTF8}
        try:
            status = path.stat()
            # Reading a pipe would wait for ever.
            if not stat.S_ISREG(status.st_mode):
                return {"name": name, "reason": NOT_REGULAR}
            place = printable(path.absolute())
            state = [status.st_size, status.st_mtime_ns, status.st_ino]
            # A file that is not known has no state, which is equal to none.
            *known_state, digest = known.get(place, [None])
            if known_state != state:
                digest = work.sha256(path)
                fresh[place] = [*state, digest]
        except OSError as error:
            return {"name": name, "reason": error.strerror}
        return {"name": name, "size": status.st_size, "sha256": digest}

    try:
        # Threads are enough: hashing leaves the interpreter free for others.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            described = pool.map(describe, paths)
            return list(progress.track(described, f"list {folder}", "file", len(paths)))
    finally:
        # Also where the listing was stopped: hashing an archive takes hours.
        if fresh:
            work.write_json(memory, known | fresh)
