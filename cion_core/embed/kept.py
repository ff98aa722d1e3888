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
    """Fill `features` [n, D] with those of images, whole chunks of which also go into files of `folder`.

    Args:
        features: any float array, perhaps on disk.
        embedder: makes them.
        read: row to RGB uint8 [H, W, 3].
        batch: images at once.
        what: what is done, for people.
        folder: a work folder of this embedder and these images alone. Chunks that lie there are not made again.
        name: row to what an error calls it.

    Raises:
        CionError: an image cannot be read, or a feature is not finite.
    """
    n = len(features)
    chunk = max(1, CHUNK // batch) * batch  # whole batches, so that a run that goes on makes the same ones

    def file(start: int) -> Path:
        return folder / f"{start:09d}.npy"

    done = 0
    while done < n and file(done).exists():
        features[done : done + chunk] = np.load(file(done))
        done = min(done + chunk, n)
    if done:
        say(f"{what}: {done} of {n} images done by an earlier run")
    for start, part in batches(embedder, read, n, batch, what, done, name):
        end = start + len(part)
        features[start:end] = part
        if end % chunk == 0 or end == n:
            first = (end - 1) // chunk * chunk
            with work.atomic(file(first)) as temporary:
                np.save(temporary, features[first:end])
