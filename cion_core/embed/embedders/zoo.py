"""Any model folder of the zoo, its own or one that pre-training or fine-tuning wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from cion_core import work, zoo
from cion_core.config import Section
from cion_core.embed.embedders.base import Embedder
from cion_core.images import resize
from cion_core.runtime import Runtime
from cion_core.zoo.device import pick
from cion_core.zoo.images import normalise, stack
from cion_core.zoo.store import FILE


class Zoo(Embedder):
    """A network of PyTorch.

    It runs in batches of at most `runtime.batch` images; the card says how they are prepared.
    On a GPU it computes in bfloat16, unless `runtime.precision` says float32; every batch has the
    same size there, the last one filled up with zeros, so that no kernel is chosen twice.
    """

    about = "a backbone of the zoo with the weights of the model folder"

    def __init__(self, folder: Path, settings: Section, runtime: Runtime) -> None:
        super().__init__(folder, settings, runtime)
        self.device, self._batch = str(pick(runtime.device)), runtime.batch
        self.network, self._card = zoo.load(folder)
        self.network.to(self.device)
        if self.device != "cpu":
            self.network.to(memory_format=torch.channels_last)  # as tensor cores want convolutions
        self.dim, self.size = self._card.num_features, self._card.image
        self.weights = work.sha256(folder / FILE)
        self.overlaps = self.device != "cpu"
        self._precision = precision(runtime.precision, self.device)

    @property
    def preparation(self) -> tuple[tuple, tuple]:
        return self._card.mean, self._card.std

    def prepared_as(self, mean: tuple, std: tuple) -> Zoo:
        other = copy(self)
        other._card = replace(self._card, mean=tuple(mean), std=tuple(std))
        return other

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return resize(image, self.size, self._card.resize)

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return self.begin(images)()

    def begin(self, images: Sequence[np.ndarray]) -> Callable[[], np.ndarray]:
        parts = [
            self._launch(images[start : start + self._batch])
            for start in range(0, len(images), self._batch)
        ]

        def finish() -> np.ndarray:
            features = np.empty((len(images), self.dim), np.float32)
            for number, part in enumerate(parts):
                start = number * self._batch
                features[start : start + self._batch] = part[: len(images) - start].cpu().numpy()
            return features

        return finish

    def _launch(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """Unit features [n or more, dim] of at most a batch, on the device.

        It may not be done with them yet.
        """
        pixels = torch.from_numpy(stack(images, self.size, self._card.resize))
        on_gpu = self.device != "cpu"
        if on_gpu:
            if len(pixels) < self._batch:
                missing = self._batch - len(pixels)
                filling = torch.zeros((missing, *pixels.shape[1:]), dtype=pixels.dtype)
                pixels = torch.cat([pixels, filling])
            pixels = pixels.pin_memory().to(self.device, non_blocking=True)
        half = self._precision != torch.float32
        with (
            torch.inference_mode(),
            torch.autocast(torch.device(self.device).type, self._precision, enabled=half),
        ):
            features = self.network(normalise(pixels, self._card.mean, self._card.std))
        with torch.inference_mode():
            return normalize(features.float(), dim=1)


def precision(wanted: str, device: str) -> torch.dtype:
    """Choose what to compute in.

    The CPU computes in float32 whatever is wanted: half precision is mostly slower there.

    Args:
        wanted: as in `Runtime.precision`; auto is bfloat16 on GPUs that do not only emulate it.
        device: as torch calls it.
    """
    if torch.device(device).type == "cpu":
        return torch.float32
    if wanted == "auto":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float32
    return getattr(torch, wanted)
