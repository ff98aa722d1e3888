"""The memory of Cluster Contrast: a vector for each cluster (Dai et al., ACCV 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class ClusterMemory(nn.Module):
    """A unit vector for each cluster of the round.

    There are as many rows as there can be clusters, so that every round's memory fits into a
    checkpoint's. In a step nothing here waits for a GPU: how many rows are used is known without
    asking it.

    Attributes:
        centres: float32 [rows, dim], of which the first `count` are used.
        count: int64, a scalar.
    """

    def __init__(self, rows: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(rows, dim))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self._used = 0  # `count`, where no device need be asked for it
        self.register_load_state_dict_post_hook(lambda memory, keys: memory._read_count())

    def _read_count(self) -> None:
        self._used = int(self.count)

    def fill(self, centres: Tensor) -> None:
        """Begin a round of clusters whose unit centres are these, float [count, dim]."""
        self.centres.zero_()
        self.centres[: len(centres)] = centres
        self.count.fill_(len(centres))
        self._used = len(centres)

    def forward(self, features: Tensor) -> Tensor:
        """The cosine of unit features float32 [B, dim] and each cluster's centre, [B, count]."""
        return features @ self.centres[: self._used].T

    @torch.no_grad()
    def update(self, features: Tensor, clusters: Tensor, momentum: float) -> None:
        """Move the centre of each cluster in the batch towards its hardest feature.

            for cluster of batch:
                f = the feature of the cluster that is least similar to its centre c
                c = normalize(momentum * c + (1 - momentum) * f)

        Args:
            features: float32 [B, dim], of unit length.
            clusters: int64 [B], of each feature.
            momentum: what a centre keeps of itself.
        """
        centres = self.centres[clusters]
        similarity = (features * centres).sum(1)
        # For each image the hardest one of its own cluster. Images of one cluster find the same
        # one, so that all of them write the same centre.
        same_cluster = clusters[:, None] == clusters
        hardest = torch.where(same_cluster, similarity, torch.inf).argmin(1)
        moved = momentum * centres + (1 - momentum) * features[hardest]
        self.centres[clusters] = normalize(moved)
