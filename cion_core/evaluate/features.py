"""Features of a benchmark's images, kept as they are made, so that a killed evaluation goes on."""

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
    embedder: Embedder,
    paths: Sequence[str],
    digests: Sequence[str],
    batch: int,
    what: str,
    flip: bool = False,
) -> np.ndarray:
    """The features of image files.

    Whole chunks of them go into a work folder of this embedder and these files as they are now, and
    are read from there when they are asked for again, until `forget`.

    Args:
        embedder: what makes a feature of an image.
        paths: of n files.
        digests: the SHA-256 of each, with which the benchmark stage has looked at it.
        batch: images at a time.
        what: what is done, in words, beside the progress bar.
        flip: add the features of their mirror images.

    Returns:
        float32 [n, embedder.dim], row i of paths[i].

    Raises:
        CionError: a file is missing, unreadable, or another than the digest says, or has no finite
            feature.
    """
    key = _key(embedder, paths, batch, flip)
    folder = work.folder(ROOM, key)
    features = np.empty((len(paths), embedder.dim), np.float32)
    embedder = Mirrored(embedder) if flip else embedder

    def read(row: int) -> np.ndarray:
        return read_image(paths[row], digests[row])

    kept.embed_all(features, embedder, read, batch, what, folder, paths.__getitem__)
    return features


def forget(embedder: Embedder, paths: Sequence[str], batch: int, flip: bool = False) -> None:
    """Remove what `embed` keeps of these; for when the results that need it are written."""
    key = _key(embedder, paths, batch, flip)
    shutil.rmtree(work.folder(ROOM, key))


def _key(embedder: Embedder, paths: Sequence[str], batch: int, flip: bool) -> str:
    """A hash of all that features depend on.

    The weights, the card, the code and the device of the embedder; names, sizes and times of files.
    """
    files = []
    try:
        for path in paths:
            status = Path(path).stat()
            files.append((path, status.st_size, status.st_mtime_ns))
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
