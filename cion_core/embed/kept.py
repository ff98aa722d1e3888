"""Features that are kept as they are made, so that a killed run goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cion_core import work
from cion_core.embed.batches import Reader, batches
from cion_core.embed.embedders.base import Embedder
from cion_core.progress import say

CHUNK = 4096  # features in a file, about: 32 MB of 2,048 numbers each


def embed_all(
    features: np.ndarray,
    embedder: Embedder,
    read: Reader,
    batch: int,
    what: str,
    folder: Path,
    name_row: Callable[[int], str] = "row {}".format,
) -> None:
    """Fill an array with the features of images; each chunk is kept in a file once it is made.

    Args:
        features: any float array [n, D], perhaps on disk.
        embedder: makes them.
        read: row to its image.
        batch: images at once.
        what: what is done, for people.
        folder: a work folder of this embedder and these images alone. Chunks that lie there are not
            made again.
        name_row: row to what an error calls it.

    Raises:
        CionError: an image cannot be read, or a feature is not finite.
    """
    n = len(features)
    done = read_chunks(features, batch, folder)
    if done:
        say(f"{what}: {done} of {n} images done by an earlier run")
    chunk = chunk_size(batch)
    for start, part in batches(embedder, read, n, batch, what, done, name_row):
        end = start + len(part)
        features[start:end] = part
        if end % chunk == 0 or end == n:
            first = (end - 1) // chunk * chunk
            write_chunk(features[first:end], first, folder)


def chunk_size(batch: int) -> int:
    """Features in a file: whole batches, so that a run that goes on makes the same ones.

    Args:
        batch: images at once.
    """
    return max(1, CHUNK // batch) * batch


def chunk_file(start: int, folder: Path) -> Path:
    """The file of a chunk.

    Args:
        start: its first row.
        folder: of the files.
    """
    return folder / f"{start:09d}.npy"


def write_chunk(features: np.ndarray, start: int, folder: Path) -> None:
    """Write a chunk's file, whole or not at all.

    Args:
        features: float [n, D], the chunk's.
        start: its first row.
        folder: of the files.
    """
    with work.atomic(chunk_file(start, folder)) as temporary:
        np.save(temporary, features)


def read_chunks(features: np.ndarray, batch: int, folder: Path) -> int:
    """Fill an array with what lies in files, up to the first file that is missing.

    Args:
        features: float [n, D], filled in place.
        batch: images at once, as when the files were written.
        folder: of the files.

    Returns:
        How many rows these are.
    """
    chunk = chunk_size(batch)
    done = 0
    while done < len(features) and chunk_file(done, folder).exists():
        features[done : done + chunk] = np.load(chunk_file(done, folder))
        done = min(done + chunk, len(features))
    return done
