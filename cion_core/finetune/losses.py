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

    Args:
        features: float [B, D].
        labels: int [B]; every label at least twice and at least two labels.
        margin: in units of the distance; None: a soft one (their section 2.3).

    Returns:
        Scalar: mean over anchors of max(0, margin + farthest positive - nearest negative); with the
        soft margin, of log(1 + exp(farthest positive - nearest negative)).
    """
    squares = features.pow(2).sum(1)
    squared = squares[:, None] + squares[None, :] - 2 * features @ features.T
    distances = squared.clamp_min(1e-12).sqrt()  # the root's gradient at 0 is infinite
    same = labels[:, None] == labels[None, :]
    positive = distances.masked_fill(~same, -torch.inf).amax(1)
    negative = distances.masked_fill(same, torch.inf).amin(1)
    behind = positive - negative
    return (softplus(behind) if margin is None else relu(margin + behind)).mean()


def smoothed_cross_entropy(logits: Tensor, people: Tensor, smoothing: float) -> Tensor:
    """Mean cross-entropy with targets of 1 - smoothing for the right person, and smoothing/(C - 1)
    for each other.

    PyTorch's own smoothing gives the right person a share of what is spread as well, so for the
    same targets it must spread C/(C - 1) as much: with C = 5 and 0.1, 0.125, 0.025 to each, and the
    right person has 0.875 + 0.025 = 0.9.

    Args:
        logits: float [B, C]; C at least 2.
        people: int64 [B]; who each row is, of C.
        smoothing: below (C - 1)/C.
    """
    count = logits.shape[1]
    return cross_entropy(logits, people, label_smoothing=smoothing * count / (count - 1))
