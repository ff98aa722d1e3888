"""Features that are kept as they are made, so that a killed run goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cion_core import work
from cion_core.embed.batches import batches
from cion_core.embed.embedders.base import Embedder
from cion_core.progress import say

CHUNK = 4096  # features in a file, about: 32 MB of 2,048 numbers each


def fill(
    features: np.ndarray, embedder: Embedder, read: Callable[[int], np.ndarray], batch: int, what: str, folder: Path,
    name: Callable[[int], str] = "row {}".format,
) -> None:  # fmt: skip
    """Fill `features` [n, D] with those of images, whole chunks of which also go into files of
    `folder`.

    Args:
        features: any float array, perhaps on disk.
        embedder: makes them.
        read: row to RGB uint8 [H, W, 3].
        batch: images at once.
        what: what is done, for people.
        folder: a work folder of this embedder and these images alone. Chunks that lie there are not
            made again.
        name: row to what an error calls it.

    Raises:
        CionError: an image cannot be read, or a feature is not finite.
    """
    n = len(features)
    done = take(features, batch, folder)
    if done:
        say(f"{what}: {done} of {n} images done by an earlier run")
    chunk = chunk_size(batch)
    for start, part in batches(embedder, read, n, batch, what, done, name):
        end = start + len(part)
        features[start:end] = part
        if end % chunk == 0 or end == n:
            first = (end - 1) // chunk * chunk
            keep(features[first:end], first, folder)


def chunk_size(batch: int) -> int:
    """Features in a file: whole batches, so that a run that goes on makes the same ones."""
    return max(1, CHUNK // batch) * batch


def chunk_file(start: int, folder: Path) -> Path:
    """The file of the features from row `start` on."""
    return folder / f"{start:09d}.npy"


def keep(features: np.ndarray, start: int, folder: Path) -> None:
    """Write the features of a chunk, [n, D] from row `start` on, whole or not at all."""
    with work.atomic(chunk_file(start, folder)) as temporary:
        np.save(temporary, features)


def take(features: np.ndarray, batch: int, folder: Path) -> int:
    """Fill `features` with what lies in files, up to the first file that is missing; how many rows
    these are.
    """
    chunk, done = chunk_size(batch), 0
    while done < len(features) and chunk_file(done, folder).exists():
        features[done : done + chunk] = np.load(chunk_file(done, folder))
        done = min(done + chunk, len(features))
    return done
