"""One call for every way of making features, and the loop that feeds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
from pydantic import ValidationError

from cion_core import work
from cion_core.embed.embedders.stripes import Stripes, describe
from cion_core.errors import CionError
from cion_core.progress import bar
from cion_core.zoo import card as cards


class Embedder(Protocol):
    """Images to features.

    `name` is its folder's; `dim` the width of a feature; `weights` the SHA-256 of its weights, or None.
    """

    name: str
    dim: int
    weights: str | None

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """RGB uint8 images [H, W, 3] of any sizes -> float32 [n, dim], L2-normalised."""
        ...


class StripesEmbedder:
    """HSV-stripe histograms with the settings of a card."""

    weights = None

    def __init__(self, folder: Path, settings: dict) -> None:
        try:
            self.settings = Stripes.model_validate(settings)
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
            raise CionError(f"{folder / cards.FILE}: {'; '.join(lines)}") from None
        self.name, self.dim = folder.name, self.settings.dim

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return describe(images, self.settings)


class ZooEmbedder:
    """A model folder of the zoo, run in batches of at most `batch` images."""

    def __init__(self, folder: Path, device: str, batch: int) -> None:
        from cion_core import zoo  # torch takes a second, which stripes need not wait for
        from cion_core.zoo.device import pick
        from cion_core.zoo.store import FILE

        self._to_tensor, self._device, self._batch = zoo.to_tensor, pick(device), batch
        self._model, self._card = zoo.load(folder)
        self._model.to(self._device)
        self.name, self.dim = folder.name, self._model.num_features
        self.weights = work.sha256(folder / FILE)

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        import torch
        from torch.nn.functional import normalize

        features = np.empty((len(images), self.dim), np.float32)
        with torch.inference_mode():
            for start in range(0, len(images), self._batch):
                tensor = self._to_tensor(images[start : start + self._batch], self._card).to(self._device)
                features[start : start + len(tensor)] = normalize(self._model(tensor).float(), dim=1).cpu().numpy()
        return features


def load_embedder(folder: Path | str, device: str = "auto", batch: int = 256) -> Embedder:
    """The embedder of a model folder; CionError tells what is missing in it."""
    folder = Path(folder)
    card = cards.read_json(folder)
    if card.get("method") == "stripes":
        return StripesEmbedder(folder, {key: value for key, value in card.items() if key != "method"})
    return ZooEmbedder(folder, device, batch)


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
                raise CionError(f"{what}: {embedder.name} gives no finite feature for row {start + bad[0]}")
            yield start, features
            progress.update(len(now))


def embed(embedder: Embedder, read: Callable[[int], np.ndarray], n: int, batch: int, what: str) -> np.ndarray:
    """Features float32 [n, embedder.dim] of the images `read(0)` .. `read(n - 1)`; see `batches`."""
    features = np.empty((n, embedder.dim), np.float32)
    for start, part in batches(embedder, read, n, batch, what):
        features[start : start + len(part)] = part
    return features
