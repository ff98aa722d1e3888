"""Is it learning? What can be said without labels: of the loss, and of features of tracklets that
are held out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from cion_core.pretrain.settings import Pretrain

MOST = 200  # tracklets held out
RECENT = 100  # rows of history that signs are looked for in
BATCH = 64  # crops that are looked at together


def held_out(crops: pd.DataFrame, share: float, seed: int) -> np.ndarray:
    """The rows of `crops` (crop, tracklet) that no method trains on: all of a `share` of the
    tracklets, at most MOST.

    Only tracklets of two crops or more are taken, for there is nothing to find otherwise. int64,
    sorted.
    """
    size = crops.tracklet.value_counts()
    several = np.sort(size.index[size > 1].to_numpy())
    count = min(round(share * len(size)), MOST, len(several))
    chosen = np.random.default_rng([seed, 2]).choice(several, count, replace=False)
    return np.flatnonzero(crops.tracklet.isin(chosen).to_numpy())


def pairs(crops: pd.DataFrame) -> np.ndarray:
    """The first and the last crop of each tracklet, in time: rows int64 [T, 2] of `crops`
    (tracklet, frame).
    """
    at = np.arange(len(crops))
    order = pd.DataFrame(
        {"tracklet": crops.tracklet.to_numpy(), "frame": crops.frame.to_numpy(), "row": at}
    )
    rows = order.sort_values(["tracklet", "frame", "row"]).groupby("tracklet").row
    return np.stack([rows.first(), rows.last()], 1)


@dataclass(frozen=True)
class Probe:
    """Looks at a network through `images`, normalised float32 [2·T, 3, H, W]: T first crops, then
    their T last.
    """

    images: Tensor
    every: int

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> dict[str, float]:
        """`measured` of the network's features, in eval mode; the network is left as it was."""
        training, device = network.training, next(network.parameters()).device
        network.eval()
        # not called, as a compiled network would then be compiled once more for each size of these
        # batches
        parts = [
            network.forward(part.to(device)).float().cpu() for part in self.images.split(BATCH)
        ]
        network.train(training)
        return measured(torch.cat(parts).numpy())


def measured(features: np.ndarray) -> dict[str, float]:
    """What features float [2·T, D] of T first and T last crops say of themselves.

    probe_rank1: the share of first crops whose nearest last crop is their own tracklet's.
    feature_rank: how many directions they use, exp of the entropy of the singular values' shares
    (Roy & Vetterli 2007), about their mean. feature_spread: the mean standard deviation of unit
    features times √D, 1 where they point everywhere alike. All NaN where features are not finite.
    """
    if not np.isfinite(features).all():
        return dict.fromkeys(("probe_rank1", "feature_rank", "feature_spread"), math.nan)
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    first, last = np.split(unit, 2)
    right = (first @ last.T).argmax(1) == np.arange(len(first))
    sizes = np.linalg.svd(unit - unit.mean(0), compute_uv=False)
    share = sizes / max(sizes.sum(), 1e-12)
    share = share[share > 1e-12]
    return {
        "probe_rank1": float(right.mean()),
        "feature_rank": float(np.exp(-(share * np.log(share)).sum())),
        "feature_spread": float(unit.std(0).mean() * math.sqrt(unit.shape[1])),
    }


@dataclass(frozen=True)
class Sign:
    """Something that training went wrong: what, when it is so of rows of history, and which
    parameter to change.
    """

    what: str
    holds: Callable[[pd.DataFrame, Pretrain, float], bool]
    change: str


def _last(history: pd.DataFrame, column: str, count: int = 20) -> float:
    """The median of the last values there are, NaN without any."""
    return float(history[column].dropna().tail(count).median()) if column in history else math.nan


def _uniform(history: pd.DataFrame, p: Pretrain, chance: float) -> bool:
    return _last(history, "teacher_entropy") > 0.99 * math.log(p.head.out_dim)


def _one(history: pd.DataFrame, p: Pretrain, chance: float) -> bool:
    return _last(history, "teacher_entropy") < 0.01 * math.log(p.head.out_dim)


def _narrow(history: pd.DataFrame, p: Pretrain, chance: float) -> bool:
    return _last(history, "feature_rank", 1) < 2 or _last(history, "feature_spread", 1) < 0.02


def _diverged(history: pd.DataFrame, p: Pretrain, chance: float) -> bool:
    return _last(history, "loss") > 1.2 * chance


SIGNS = (
    Sign(
        "the teacher's outputs are all but uniform", _uniform, "lower pretrain.temperature.teacher"
    ),
    Sign(
        "the teacher gives every crop one prototype",
        _one,
        "lower pretrain.momentum.center, or raise pretrain.temperature.teacher",
    ),
    Sign(
        "the features have collapsed to one direction",
        _narrow,
        "lower the method's lr, or pretrain.momentum.center",
    ),
    Sign(
        "the loss is worse than chance's",
        _diverged,
        "lower the method's lr, or lengthen pretrain.warmup",
    ),
)


def diagnose(
    history: Sequence[dict[str, float]], p: Pretrain, steps: int, chance: float
) -> list[str]:
    """What has gone wrong in `history` so far, of `steps` in all, each with what to change; empty
    while warming up.

    `chance` is the loss of a network that knows nothing.
    """
    if len(history) < max(20, p.warmup * steps):
        return []
    rows = pd.DataFrame(
        history[-RECENT:]
    )  # of a long run, all of it would take longer at each look
    return [f"{sign.what}: {sign.change}" for sign in SIGNS if sign.holds(rows, p, chance)]
