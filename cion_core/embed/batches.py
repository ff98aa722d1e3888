"""The loop that feeds an embedder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cion_core.embed.embedders.base import Embedder
from cion_core.errors import CionError
from cion_core.progress import bar


def batches(
    embedder: Embedder, read: Callable[[int], np.ndarray], n: int, batch: int, what: str
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, float32 [<= batch, dim]) for rows 0..n-1, under a progress bar.

    `read(i)` is the RGB uint8 image of row i; the next batch is read while one is embedded. CionError names the
    first row whose feature is not finite.
    """

    def images(start: int) -> list[np.ndarray]:
        return [read(row) for row in range(start, min(start + batch, n))]

    with ThreadPoolExecutor(1) as pool, bar(what, "image", n) as progress:
        ahead = pool.submit(images, 0)
        for start in range(0, n, batch):
            now, ahead = ahead.result(), pool.submit(images, start + batch)
            features = embedder(now)
            bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
            if len(bad):
                raise CionError(f"{what}: {embedder.model} gives no finite feature for row {start + bad[0]}")
            yield start, features
            progress.update(len(now))


def embed(embedder: Embedder, read: Callable[[int], np.ndarray], n: int, batch: int, what: str) -> np.ndarray:
    """Features float32 [n, embedder.dim] of the images `read(0)` .. `read(n - 1)`; see `batches`."""
    features = np.empty((n, embedder.dim), np.float32)
    for start, part in batches(embedder, read, n, batch, what):
        features[start : start + len(part)] = part
    return features
