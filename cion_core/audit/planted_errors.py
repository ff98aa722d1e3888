"""An audit without truth: errors planted into a copy of the tracklets, and what became of each.

`planting` plants them; here is what each level makes of them. Errors that the tracklets hold
already are not known, and none of them is counted. Where the tracker itself erred at that very
place, a planted error may rightly be left alone, so the shares of what is repaired are lower
bounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from cion_core.audit.planting import Planted, inject, sample

KINDS = ("switch", "swap", "fragment")
SEED = 0
# From worst to best: a tie counts as the worse.
OUTCOMES = ("stayed", "elsewhere", "removed", "home")
# What `_most_common` says where no crop has an identity. No crop's label is this number.
NOBODY = -2


def outcome(error: Planted, labels: np.ndarray) -> str:
    """What became of most guests of an error.

    Args:
        error: the error.
        labels: int [N], a labelling, -1: none.

    Returns:
        One of OUTCOMES. stayed: with most of the host. home: with most of the origin. removed: in
        no identity. elsewhere: in any other.
    """
    of_host = _most_common(labels[error.host])
    of_origin = _most_common(labels[error.origin])

    def judge(label: int) -> str:
        if label < 0:
            return "removed"
        if label == of_host:
            return "stayed"
        return "home" if label == of_origin else "elsewhere"

    counts = Counter(judge(label) for label in labels[error.guest].tolist())
    return max(OUTCOMES, key=lambda name: (counts[name], -OUTCOMES.index(name)))


def repaired(planted: list[Planted], labels: np.ndarray) -> dict[str, dict[str, int]]:
    """How many errors of each kind are repaired in a labelling.

    Returns:
        For each kind that was planted: `repaired`; of them `removed` (the guests were dropped) and
        `home` (they are back with their origin). A switch or a swap is repaired when most guests
        are no longer with the host, a fragment when they are with their origin.
    """
    counted = {}
    for kind in KINDS:
        outcomes = Counter(outcome(error, labels) for error in planted if error.kind == kind)
        if not outcomes:
            continue
        mended = outcomes["home"] if kind == "fragment" else outcomes.total() - outcomes["stayed"]
        counted[kind] = {
            "repaired": mended,
            "removed": outcomes["removed"],
            "home": outcomes["home"],
        }
    return counted


def audit(
    crops: pd.DataFrame,
    features: np.ndarray,
    levels: Callable[[pd.DataFrame, np.ndarray], dict[str, np.ndarray]],
    least: int,
    seed: int = SEED,
    each: Callable[..., Iterable[dict[str, np.ndarray]]] = map,
) -> dict | None:
    """Plant errors into a sample of whole videos, run the levels on it, and count.

    Args:
        crops: as `checks.checked` returns them.
        features: likewise.
        levels: takes crops and features; returns the labels, int [N], after each level by its name.
            It is called twice, without and with the errors.
        least: crops of a part, no fewer than a level needs to keep it.
        seed: decides on the sample and the errors.
        each: calls it, as `map` does; `cluster.mapped` does so on other machines.

    Returns:
        None where no error could be planted. Else `videos` and `crops` of the sample; under each
        kind (None: none planted) `planted`, and for every level `repaired`, `removed`, `home`;
        under `bystanders` how many `crops` are guests of no error, and how many of them each level
        `dropped` though it keeps them without the errors.
    """
    # 1. A sample, and errors in it.
    rng = np.random.default_rng(seed)
    rows = sample(crops, rng)
    crops, features = crops.iloc[rows].reset_index(drop=True), features[rows]
    crops = crops.assign(video=crops.video.astype("category").cat.remove_unused_categories())
    changed, planted = inject(crops, rng, least=max(2, least))
    if not planted:
        return None

    # 2. The levels, without and with the errors.
    clean, with_errors = each(levels, [crops, changed], [features, features])

    # 3. What became of the errors.
    counts = {level: repaired(planted, labels) for level, labels in with_errors.items()}
    found: dict = {"videos": int(crops.video.nunique()), "crops": len(crops)}
    for kind in KINDS:
        number = sum(error.kind == kind for error in planted)
        found[kind] = None
        if number:
            by_level = {level: count[kind] for level, count in counts.items()}
            found[kind] = {"planted": number, **by_level}

    # 4. What became of those that had no part in them.
    bystander = np.ones(len(crops), bool)
    bystander[np.concatenate([error.guest for error in planted])] = False
    dropped = {}
    for level, labels in with_errors.items():
        lost = bystander & (clean[level] >= 0) & (labels < 0)
        dropped[level] = int(lost.sum())
    found["bystanders"] = {"crops": int(bystander.sum()), "dropped": dropped}
    return found


def numbers(found: dict | None) -> dict[str, dict[str, float]]:
    """What `audit` found as numbers.

    Returns:
        For each kind that was planted: how many (`planted`), and by each level's name the
        percentage that is repaired after it.
    """
    if not found:
        return {}
    by_kind = {}
    for kind in KINDS:
        if not found[kind]:
            continue
        planted = found[kind]["planted"]
        by_kind[kind] = {"planted": planted}
        for level, count in found[kind].items():
            if level != "planted":
                by_kind[kind][level] = round(100 * count["repaired"] / planted, 1)
    return by_kind


def summary(found: dict | None) -> str:
    """What `audit` found, in one line for a person."""
    if not found:
        return (
            "no errors could be planted: no two tracklets are seen together, and none is long "
            "enough to cut"
        )
    kinds = []
    for kind, by_level in numbers(found).items():
        plural = "switches" if kind == "switch" else f"{kind}s"
        shares = [f"{share:.0f} %" for name, share in by_level.items() if name != "planted"]
        kinds.append(f"{by_level['planted']} {plural} {' / '.join(shares)}")
    return f"planted into {found['crops']} crops, repaired after each level: {', '.join(kinds)}"


def _most_common(labels: np.ndarray) -> int:
    """The identity that most crops have, of equally many the lowest; NOBODY where none has one."""
    identities, counts = np.unique(labels[labels >= 0], return_counts=True)
    if not len(identities):
        return NOBODY
    return int(identities[counts.argmax()])
