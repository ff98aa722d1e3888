"""Any model folder of the zoo, its own or one that pre-training or fine-tuning wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from cion_core import work, zoo
from cion_core.config import Section
from cion_core.embed.embedders.base import Embedder
from cion_core.runtime import Runtime
from cion_core.zoo.device import pick
from cion_core.zoo.store import FILE


class Zoo(Embedder):
    """Runs in batches of at most `runtime.batch` images; the card says how they are prepared."""

    about = "a backbone of the zoo with the weights of the model folder"

    def __init__(self, folder: Path, settings: Section, runtime: Runtime) -> None:
        super().__init__(folder, settings, runtime)
        self.device, self._batch = str(pick(runtime.device)), runtime.batch
        self.network, self._card = zoo.load(folder)
        self.network.to(self.device)
        self.dim, self.size = self._card.num_features, self._card.image
        self.weights = work.sha256(folder / FILE)

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        features = np.empty((len(images), self.dim), np.float32)
        with torch.inference_mode():
            for start in range(0, len(images), self._batch):
                tensor = zoo.to_tensor(images[start : start + self._batch], self._card).to(self.device)
                features[start : start + len(tensor)] = normalize(self.network(tensor).float(), dim=1).cpu().numpy()
        return features
