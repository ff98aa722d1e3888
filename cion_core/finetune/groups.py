"""Batch norm over groups of a batch, as if each were on a card of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def grouped(network: nn.Module, images: Tensor, size: int | None) -> Tensor:
    """`network(images)`, batch norms going by each `size` images in turn alone; None: by all of
    them.

    Published recipes ran on several cards without synchronised batch norm, and that of 16 images is
    another than that of 64. What is kept for evaluation are the running means of the first group:
    those of the first card, which alone was saved.

    Args:
        network: [n, ...] to [n, D], row by row but for batch norms.
        images: [n, ...].
    """
    first, *others = images.split(size or len(images))
    features = [network(first)]
    with untracked(network):
        features += [network(group) for group in others]
    return torch.cat(features) if others else features[0]


@contextmanager
def untracked(network: nn.Module) -> Iterator[None]:
    """While inside, batch norms in training leave their running means as they are."""
    norms = [
        m
        for m in network.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats
    ]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
