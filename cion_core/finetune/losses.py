"""Losses of supervised fine-tuning.

The batch-hard triplet is a dozen lines of our own. Those of pytorch-metric-learning take distances
from `torch.cdist`, which differ from these in their last digits and would give other weights.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, relu, softplus


def batch_hard_triplet(features: Tensor, labels: Tensor, margin: float | None = None) -> Tensor:
    """Batch-hard triplet loss with Euclidean distance (Hermans et al. 2017, equation 5).

        for anchor a of B:
            farthest = max over images p of a's person of |a - p|
            nearest = min over images n of other people of |a - n|
            loss += max(0, margin + farthest - nearest)
        loss /= B

    Args:
        features: float [B, D].
        labels: int [B]; every label at least twice and at least two labels.
        margin: in units of the distance; None: a soft one (their section 2.3), with which an anchor
            adds log(1 + exp(farthest - nearest)).

    Returns:
        A scalar.
    """
    squares = features.pow(2).sum(1)
    squared = squares[:, None] + squares[None, :] - 2 * features @ features.T
    distances = squared.clamp_min(1e-12).sqrt()  # the root's gradient at 0 is infinite
    same = labels[:, None] == labels[None, :]
    positive = distances.masked_fill(~same, -torch.inf).amax(1)
    negative = distances.masked_fill(same, torch.inf).amin(1)
    excess = positive - negative
    loss = softplus(excess) if margin is None else relu(margin + excess)
    return loss.mean()


def smoothed_cross_entropy(logits: Tensor, people: Tensor, smoothing: float) -> Tensor:
    """Mean cross-entropy with smoothed targets.

    The target of the right person is 1 - smoothing, that of each other smoothing/(C - 1). PyTorch's
    own smoothing gives the right person a share of what is spread as well. So for the same targets
    it must spread C/(C - 1) as much: with C = 5 and 0.1, 0.125, of which each person gets 0.025,
    and the right one has 0.875 + 0.025 = 0.9.

    Args:
        logits: float [B, C]; C at least 2.
        people: int64 [B]; who each row is, of C.
        smoothing: below (C - 1)/C.
    """
    count = logits.shape[1]
    return cross_entropy(logits, people, label_smoothing=smoothing * count / (count - 1))
