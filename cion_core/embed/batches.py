"""The loop that feeds an embedder."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from cion_core.embed.embedders.base import Embedder
from cion_core.errors import CionError
from cion_core.progress import bar

AHEAD = 2  # batches that are read and prepared while one is embedded
PIECE = 16  # images that a thread reads in one go

Reader = Callable[[int], np.ndarray]  # row to its image, RGB uint8 [H, W, 3]


def batches(
    embedder: Embedder,
    read: Reader,
    n: int,
    batch: int,
    what: str,
    first: int = 0,
    name_row: Callable[[int], str] = "row {}".format,
) -> Iterator[tuple[int, np.ndarray]]:
    """Embed rows `first`..n-1 in order, under a progress bar.

    Images are read and prepared in as many threads as there are processors, up to AHEAD batches
    before the embedder. A GPU begins with a batch before the features of the last one are taken
    from it.

    Args:
        embedder: makes the features.
        read: what it raises is raised here, at its row.
        n: the number of rows.
        batch: images at once.
        what: what is done, for people.
        first: the first row that is wanted.
        name_row: row to what an error calls it.

    Yields:
        The first row of a batch, and its features, float32 [<= batch, embedder.dim].

    Raises:
        CionError: a feature is not finite; names the first such row.
    """

    def prepared(row: int) -> np.ndarray:
        return embedder.prepare(read(row))

    with bar(what, "image", n, initial=first) as progress:
        for start, features in _embed(embedder, _read(prepared, range(first, n), batch)):
            bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
            if len(bad):
                raise CionError(
                    f"{what}: {embedder.model} gives no finite feature for "
                    f"{name_row(start + int(bad[0]))}"
                )
            yield start, features
            progress.update(len(features))


def _embed(
    embedder: Embedder, read: Iterator[tuple[int, list[np.ndarray]]]
) -> Iterator[tuple[int, np.ndarray]]:
    """The first row and the features of each batch.

    A device that works by itself has begun with the next batch when the features of one are asked
    for.
    """
    if not embedder.overlaps:
        for start, images in read:
            yield start, embedder(images)
        return
    waiting: tuple[int, Callable[[], np.ndarray]] | None = None
    for start, images in read:
        begun = embedder.begin(images)
        if waiting is not None:
            yield waiting[0], waiting[1]()
        waiting = (start, begun)
    if waiting is not None:
        yield waiting[0], waiting[1]()


def _read(read: Reader, rows: range, batch: int) -> Iterator[tuple[int, list[np.ndarray]]]:
    """The first row and the images of each batch, in order; the next are being read meanwhile."""
    pool = ThreadPoolExecutor(os.cpu_count())

    def piece(part: range) -> list[np.ndarray]:
        return [read(row) for row in part]

    def begin(part: range) -> list[Future]:
        return [pool.submit(piece, part[i : i + PIECE]) for i in range(0, len(part), PIECE)]

    parts = [rows[i : i + batch] for i in range(0, len(rows), batch)]
    reading = deque(begin(part) for part in parts[:AHEAD])
    try:
        for number, part in enumerate(parts):
            reading.extend(begin(later) for later in parts[number + AHEAD : number + AHEAD + 1])
            yield part.start, [image for done in reading.popleft() for image in done.result()]
    finally:  # also where an error, or whoever wants no more, ends it early
        pool.shutdown(cancel_futures=True)


def embed(embedder: Embedder, read: Reader, n: int, batch: int, what: str) -> np.ndarray:
    """Embed rows 0..n-1; see `batches` for the arguments.

    Returns:
        float32 [n, embedder.dim].
    """
    features = np.empty((n, embedder.dim), np.float32)
    for start, part in batches(embedder, read, n, batch, what):
        features[start : start + len(part)] = part
    return features
