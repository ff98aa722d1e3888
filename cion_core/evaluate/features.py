"""Features of a benchmark's images, kept as they are made: a killed evaluation goes on where it
stopped.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cion_core import work
from cion_core.embed import kept
from cion_core.embed.embedders import EMBEDDERS
from cion_core.embed.embedders.base import Embedder
from cion_core.errors import CionError
from cion_core.evaluate.flip import Mirrored
from cion_core.images import read_image
from cion_core.zoo import card as cards

ROOM = "evaluate"  # of the work folder


def embed(
    embedder: Embedder, paths: Sequence[str], digests: Sequence[str], batch: int, what: str, flip: bool = False
) -> np.ndarray:  # fmt: skip
    """Features float32 [n, embedder.dim] of image files, row i of paths[i]; with `flip`, of their
    mirror images too.

    Their bytes must have the SHA-256 `digests`, with which the benchmark stage has looked at them.

    Whole chunks of them go into a work folder of this embedder and these files as they are now, and
    are read from there when it is asked again, until `forget`. CionError names a file that is
    missing or unreadable, or has no finite feature.
    """
    folder = work.folder(ROOM, _key(embedder, paths, batch, flip))
    features = np.empty((len(paths), embedder.dim), np.float32)
    embedder = Mirrored(embedder) if flip else embedder

    def read(row: int) -> np.ndarray:
        return read_image(paths[row], digests[row])

    kept.fill(features, embedder, read, batch, what, folder, paths.__getitem__)
    return features


def forget(embedder: Embedder, paths: Sequence[str], batch: int, flip: bool = False) -> None:
    """Remove what `embed` keeps of these; for when the results that need it are written."""
    shutil.rmtree(work.folder(ROOM, _key(embedder, paths, batch, flip)))


def _key(embedder: Embedder, paths: Sequence[str], batch: int, flip: bool) -> str:
    """Changes with the weights, the card, the code and the device of the embedder, and with the
    files' names, sizes and times."""
    try:
        files = [
            (path, status.st_size, status.st_mtime_ns)
            for path in paths
            for status in [Path(path).stat()]
        ]
    except OSError as error:
        raise CionError(
            f"{error.filename}: not a readable image; replace or remove it ({error.strerror})"
        ) from None
    about = {
        "weights": embedder.weights,
        "device": embedder.device,
        "batch": batch,
        "flip": flip,
        "files": files,
    }
    return work.key(about, embedder.folder / cards.FILE, *EMBEDDERS.files(embedder.name))
