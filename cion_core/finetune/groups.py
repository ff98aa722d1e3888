"""Batch norm over groups of a batch, as if each were on a card of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def apply_in_groups(network: nn.Module, images: Tensor, size: int | None) -> Tensor:
    """`network(images)`, its batch norms going by one group of images after another.

    Published recipes ran on several cards without synchronised batch norm, and that of 16 images is
    another than that of 64. What is kept for evaluation are the running means of the first group:
    those of the first card, which alone was saved.

    Args:
        network: [n, ...] to [n, D], row by row but for batch norms.
        images: [n, ...].
        size: images of a group; None: all of them.

    Returns:
        [n, D].
    """
    first, *others = images.split(size or len(images))
    features = [network(first)]
    with frozen_running_means(network):
        features += [network(group) for group in others]
    return torch.cat(features) if others else features[0]


@contextmanager
def frozen_running_means(network: nn.Module) -> Iterator[None]:
    """While inside, batch norms in training leave their running means as they are."""
    batch_norms = (m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    norms = [norm for norm in batch_norms if norm.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
