"""Every image of a benchmark is read once at the start, for a broken one is better known before the pre-training."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool

from cion_core.errors import CionError
from cion_core.images import contents, decode
from cion_core.progress import track

NAMED = 10  # broken files that an error names
CHUNK = 32  # images that a thread takes at a time


def digests(paths: Sequence[str]) -> list[str]:
    """SHA-256 of the bytes of each image file, in order; each is decoded as well, in as many threads as processors.

    Raises:
        CionError: some are no whole images; it names the first NAMED and says how many there are.
    """
    with ThreadPool(os.cpu_count()) as pool:  # reading, hashing and decoding let go of the interpreter
        read = pool.imap(_read, paths, CHUNK)
        found = list(track(read, "benchmark: reading every image", "image", len(paths)))
    broken = [str(error) for error in found if isinstance(error, CionError)]
    if broken:
        more = f"\n  and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
        raise CionError(f"{len(broken)} of {len(found)} images are broken:\n  " + "\n  ".join(broken[:NAMED]) + more)
    return found


def _read(path: str) -> str | CionError:
    try:
        data = contents(path)
        decode(data, path)
    except CionError as error:
        return error
    return hashlib.sha256(data).hexdigest()
