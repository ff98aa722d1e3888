"""Is it learning? What the loss, and features of held-out tracklets, say without labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from cion_core.pretrain.settings import Pretrain

MOST_TRACKLETS = 200  # held out
RECENT = 100  # rows of history that signs are looked for in
BATCH = 64  # crops that are looked at together


def hold_out(crops: pd.DataFrame, share: float, seed: int) -> np.ndarray:
    """The crops that no method trains on: all of some tracklets of two crops or more.

    Args:
        crops: with the columns crop and tracklet.
        share: of all tracklets; at most MOST_TRACKLETS are held out.
        seed: by which they are drawn.

    Returns:
        Rows of `crops`, int64, sorted.
    """
    size = crops.tracklet.value_counts()
    several = np.sort(size.index[size > 1].to_numpy())
    count = min(round(share * len(size)), MOST_TRACKLETS, len(several))
    rng = np.random.default_rng([seed, 2])
    chosen = rng.choice(several, count, replace=False)
    return np.flatnonzero(crops.tracklet.isin(chosen).to_numpy())


def first_and_last(crops: pd.DataFrame) -> np.ndarray:
    """The first and the last crop of each tracklet, in time.

    Args:
        crops: with the columns tracklet and frame.

    Returns:
        Rows of `crops`, int64 [T, 2].
    """
    order = crops[["tracklet", "frame"]].assign(row=np.arange(len(crops)))
    rows = order.sort_values(["tracklet", "frame", "row"]).groupby("tracklet").row
    return np.stack([rows.first(), rows.last()], 1)


@dataclass(frozen=True)
class FeatureProbe:
    """Measures a network's features of held-out tracklets; a `training.loop.Probe`.

    Attributes:
        images: normalised float32 [2·T, 3, H, W]: the first crops of T tracklets, then their last.
        every: how many steps lie between two looks.
    """

    images: Tensor
    every: int

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> dict[str, float]:
        """`measure_features` of the network in eval mode; the network is left as it was."""
        training = network.training
        device = next(network.parameters()).device
        network.eval()
        # `forward` and not a call: a call would compile a compiled network once more for each size
        # of these batches.
        batches = self.images.split(BATCH)
        parts = [network.forward(part.to(device)).float().cpu() for part in batches]
        network.train(training)
        return measure_features(torch.cat(parts).numpy())


def measure_features(features: np.ndarray) -> dict[str, float]:
    """What can be said of features without labels.

    Args:
        features: float [2·T, D], of T first crops, then of the same tracklets' last crops.

    Returns:
        All NaN where features are not finite; else
        probe_rank1: the share of first crops whose nearest last crop is their own tracklet's;
        feature_rank: how many directions features use about their mean, exp of the entropy of the
        singular values' shares (Roy & Vetterli 2007);
        feature_spread: the mean standard deviation of unit features times √D, which is 1 where they
        point everywhere alike.
    """
    if not np.isfinite(features).all():
        return dict.fromkeys(("probe_rank1", "feature_rank", "feature_spread"), math.nan)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.maximum(lengths, 1e-12)
    first, last = np.split(unit, 2)
    right = (first @ last.T).argmax(1) == np.arange(len(first))
    singular_values = np.linalg.svd(unit - unit.mean(0), compute_uv=False)
    share = singular_values / max(singular_values.sum(), 1e-12)
    share = share[share > 1e-12]
    entropy = -(share * np.log(share)).sum()
    spread = unit.std(0).mean() * math.sqrt(unit.shape[1])
    return {
        "probe_rank1": float(right.mean()),
        "feature_rank": float(np.exp(entropy)),
        "feature_spread": float(spread),
    }


@dataclass(frozen=True)
class FailureSign:
    """A sign that training has gone wrong.

    Attributes:
        what: it shows, in words.
        holds: whether rows of history show it; it is given the settings and chance's loss, too.
        advice: which setting to change.
    """

    what: str
    holds: Callable[[pd.DataFrame, Pretrain, float], bool]
    advice: str


def _recent(history: pd.DataFrame, column: str, count: int = 20) -> float:
    """The median of the last values of a column; NaN where there are none."""
    if column not in history:
        return math.nan
    return float(history[column].dropna().tail(count).median())


def _is_uniform(history: pd.DataFrame, p: Pretrain, chance: float) -> bool:
    return _recent(history, "teacher_entropy") > 0.99 * math.log(p.head.out_dim)


def _is_one(history: pd.DataFrame, p: Pretrain, chance: float) -> bool:
    return _recent(history, "teacher_entropy") < 0.01 * math.log(p.head.out_dim)


def _is_narrow(history: pd.DataFrame, p: Pretrain, chance: float) -> bool:
    return _recent(history, "feature_rank", 1) < 2 or _recent(history, "feature_spread", 1) < 0.02


def _has_diverged(history: pd.DataFrame, p: Pretrain, chance: float) -> bool:
    return _recent(history, "loss") > 1.2 * chance


SIGNS = (
    FailureSign(
        "the teacher's outputs are all but uniform",
        _is_uniform,
        "lower pretrain.temperature.teacher",
    ),
    FailureSign(
        "the teacher gives every crop one prototype",
        _is_one,
        "lower pretrain.momentum.center, or raise pretrain.temperature.teacher",
    ),
    FailureSign(
        "the features have collapsed to one direction",
        _is_narrow,
        "lower the method's lr, or pretrain.momentum.center",
    ),
    FailureSign(
        "the loss is worse than chance's",
        _has_diverged,
        "lower the method's lr, or lengthen pretrain.warmup",
    ),
)


def diagnose(
    history: Sequence[dict[str, float]], p: Pretrain, steps: int, chance: float
) -> list[str]:
    """What has gone wrong so far, each with what to change; empty while warming up.

    Args:
        history: rows of the steps so far.
        p: the section `pretrain` of params.yaml.
        steps: of the whole run.
        chance: the loss of a network that knows nothing.
    """
    if len(history) < max(20, p.warmup * steps):
        return []
    rows = pd.DataFrame(history[-RECENT:])  # all of a long run would take longer at each look
    return [f"{sign.what}: {sign.advice}" for sign in SIGNS if sign.holds(rows, p, chance)]
