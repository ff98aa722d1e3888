"""Scores where a GPU is: `metrics.score` in PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from cion_core.benchmark.labels import Labels
from cion_core.evaluate.metrics import Scores, from_places, own_images


def cosines(query: np.ndarray, gallery: np.ndarray, device: str) -> Callable[[slice], torch.Tensor]:
    """Rows of queries to their cosine distances float32 [rows, G] on a device, of L2-normalised [Q, D] and [G, D]."""
    there = torch.as_tensor(gallery, device=device)
    return lambda rows: 1 - torch.as_tensor(query[rows], device=device) @ there.T


def score(distance: torch.Tensor, query: Labels, gallery: Labels) -> Scores:
    """Scores of a few queries from their distances [Q, G], none of them NaN, on any device; equal to `metrics.score`.

    A GPU sorts rows with their images about as fast as without, and a stable sort settles ties by itself.
    """
    own = own_images(query, gallery)
    i, j, right, junk = (
        torch.as_tensor(rows, device=distance.device) for rows in (own.query, own.image, own.right, own.junk)
    )
    kept = distance.clone()
    kept[:, junk] = torch.nan  # which is sorted behind everything
    kept[i[~right], j[~right]] = torch.nan
    order = kept.argsort(dim=1, stable=True)
    rank = torch.empty_like(order)
    rank.scatter_(1, order, torch.arange(1, order.shape[1] + 1, device=order.device).expand_as(order))
    return from_places(own.query[own.right], rank[i[right], j[right]].cpu().numpy(), len(query))
