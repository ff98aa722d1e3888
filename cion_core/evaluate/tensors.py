"""Scores where a GPU is: `metrics.score` in PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from cion_core.benchmark.labels import Labels
from cion_core.evaluate.metrics import Scores, find_own_images, scores_from_ranks


def comparer(
    query: np.ndarray, gallery: np.ndarray, device: str
) -> Callable[[slice], torch.Tensor]:
    """Prepare to compare queries with a gallery that stays on a device.

    Args:
        query: float32 [Q, D], unit length.
        gallery: float32 [G, D], unit length.
        device: such as cuda.

    Returns:
        A function of rows of queries that gives cosine distances float32 [rows, G] there.
    """
    gallery_there = torch.as_tensor(gallery, device=device)

    def compare(rows: slice) -> torch.Tensor:
        query_there = torch.as_tensor(query[rows], device=device)
        return 1 - query_there @ gallery_there.T

    return compare


def score(distance: torch.Tensor, query: Labels, gallery: Labels) -> Scores:
    """Score a few queries on any device; equal to `metrics.score`.

    A GPU sorts rows with their images about as fast as without, and a stable sort settles ties by
    itself.

    Args:
        distance: [Q, G], none NaN, to the whole gallery.
        query: of the queries.
        gallery: of all gallery images.
    """
    own = find_own_images(query, gallery)
    device = distance.device
    row = torch.as_tensor(own.query, device=device)
    image = torch.as_tensor(own.image, device=device)
    right = torch.as_tensor(own.right, device=device)
    junk = torch.as_tensor(own.junk, device=device)

    # What is passed over becomes NaN, which is sorted behind everything.
    kept = distance.clone()
    removed = ~right
    kept[:, junk] = torch.nan
    kept[row[removed], image[removed]] = torch.nan

    order = kept.argsort(dim=1, stable=True)
    rank = torch.empty_like(order)
    ranks_in_order = torch.arange(1, order.shape[1] + 1, device=device).expand_as(order)
    rank.scatter_(1, order, ranks_in_order)
    rank_of_right = rank[row[right], image[right]].cpu().numpy()
    query_of_right = own.query[own.right]
    return scores_from_ranks(query_of_right, rank_of_right, len(query))
