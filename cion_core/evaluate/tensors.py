"""Scores and neighbours in PyTorch: on a GPU, or where it does on a CPU what NumPy has no call for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from cion_core.benchmark.labels import Labels
from cion_core.evaluate.metrics import Scores, from_places, own_images

STRIP = 1024  # rows whose similarity to all others is made at a time: 384 MB of 93,820
ITSELF = 4.0  # more than any cosine


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


def neighbours(features: np.ndarray, k: int, device: str = "cpu") -> np.ndarray:
    """The k + 1 (or all) nearest rows of each L2-normalised row [n, D], itself first, int32 [n, k + 1].

    Exact but for rounding; which of equally near rows are taken is not said. Each pair of rows is multiplied once, for
    both of them, which takes half the time of a search for every row.
    """
    x = torch.as_tensor(features, device=device)
    n, k = len(x), min(k + 1, len(x))
    best = torch.full((n, k), -torch.inf, device=device)
    near = torch.zeros((n, k), dtype=torch.int32, device=device)

    def offer(rows: slice, similarity: torch.Tensor, start: int) -> None:
        """Similarities [r, c] of some rows to the rows from `start` on, none of which they were offered before."""
        value, at = similarity.topk(min(k, similarity.shape[1]))
        at = torch.cat((near[rows], at.int() + start), 1)
        best[rows], order = torch.cat((best[rows], value), 1).topk(k)
        near[rows] = at.gather(1, order)

    for start in range(0, n, STRIP):
        stop = min(start + STRIP, n)
        strip = x[start:stop] @ x[start:].T
        strip.fill_diagonal_(ITSELF)
        offer(slice(start, stop), strip, start)
        for first in range(stop, n, STRIP):
            offer(slice(first, first + STRIP), strip[:, first - start : first - start + STRIP].T.contiguous(), start)
    return near.cpu().numpy()
