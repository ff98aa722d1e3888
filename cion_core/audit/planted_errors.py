"""An audit without truth: errors planted into a copy of the tracklets, and what became of each after every level.

Planted are, inside one video, the errors that trackers make: an *ID switch* (from some frame on two tracklets have
each other's people), a *swap* (two crops of one frame exchanged), a *fragment* (a tracklet cut in two). Switches and
swaps are planted only between tracklets that are seen in one frame, for only they are known to show two people: what
errors the tracklets hold already is not known, and none of them is counted. A tracklet takes part in one error at
most. Where the tracker itself erred at that very place, a planted error may rightly be left alone, so the shares of
what is repaired are lower bounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cion_core.denoise import cannot_link

KINDS = ("switch", "swap", "fragment")
SHARE = 0.1  # of the tracklets, for each kind: few enough that most of what a level sees is as it was
LIMIT = 3000  # crops of the sample
SEED = 0
FATES = ("stayed", "elsewhere", "removed", "home")  # from worst to best: a tie counts as the worse


@dataclass(frozen=True)
class Planted:
    """One planted error, as rows of the table: the `guest` crops should be with `origin`, and are not.

    switch, swap: they lie in a tracklet with `host`, somebody else. fragment: they lie alone, and host is empty. Of
    a tracklet put together from two parts the smaller is the guest (of equal ones the earlier).
    """

    kind: str
    guest: np.ndarray
    host: np.ndarray
    origin: np.ndarray


def sample(crops: pd.DataFrame, rng: np.random.Generator, limit: int = LIMIT) -> np.ndarray:
    """Rows of whole videos drawn at random, `limit` crops at most, int64 ascending.

    Two videos are taken where there are two: of one with more than half the limit, only the tracklets that begin
    first (one at least).
    """
    videos = crops.groupby("video", observed=True).indices
    chosen: list[np.ndarray] = []
    for video in rng.permutation(sorted(videos)).tolist():
        rows = np.sort(videos[video])
        if len(rows) > limit // 2:
            here = crops.iloc[rows]
            begins = here.frame.groupby(here.tracklet).transform("min").to_numpy()
            order = np.lexsort((here.tracklet, begins))
            last = here.tracklet.to_numpy()[order]
            whole = np.append(last[1:] != last[:-1], True)  # places where a tracklet is complete
            ends = np.flatnonzero(whole) + 1
            rows = np.sort(rows[order[: max(ends[ends <= limit // 2], default=ends[0])]])
        if len(chosen) < 2 or sum(map(len, chosen)) + len(rows) <= limit:
            chosen.append(rows)
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)


def inject(
    crops: pd.DataFrame, rng: np.random.Generator, share: float = SHARE, least: int = 2
) -> tuple[pd.DataFrame, list[Planted]]:
    """A copy of `crops` with other tracklets, and the errors planted there.

    crops: crop, video, frame, tracklet (x1 y1 x2 y2 tell duplicate detections from two people); at most one crop of
    a tracklet in a frame, which stays so. share: of the tracklets that each kind touches, where so many are fit for
    it. least: crops that every part has (but the single crops of a swap). All columns but tracklet stay as they are.
    """
    tracklets = crops.tracklet.to_numpy(np.int64)
    frames = crops.frame.to_numpy(np.int64)
    order = np.lexsort((frames, tracklets))
    groups = dict(zip(*_split(tracklets[order], order), strict=True))
    before = np.empty(len(crops), np.int64)  # crops of its tracklet earlier than each
    for rows in groups.values():
        before[rows] = np.arange(len(rows))
    size = np.array([len(groups[t]) for t in tracklets.tolist()], np.int64)
    parted = (before >= least) & (size - before >= least)
    pairs = cannot_link.crop_pairs(crops)

    out, planted = tracklets.copy(), []
    touched: set[int] = set()
    quota = round(share * len(groups))

    def draw(candidates: np.ndarray, count: int) -> list[list[int]]:
        """Up to `count` of the candidates, rows [M, 1 or 2], whose tracklets nothing has touched yet."""
        drawn: list[list[int]] = []
        for rows in rng.permutation(candidates).tolist():
            if len(drawn) == count:
                break
            if touched.isdisjoint(names := tracklets[rows].tolist()):
                touched.update(names)
                drawn.append(rows)
        return drawn

    for a, b in draw(pairs[parted[pairs].all(1)], quota // 2):
        (a1, a2), (b1, b2) = (np.split(groups[int(tracklets[row])], [before[row]]) for row in (a, b))
        out[a2], out[b2] = tracklets[b], tracklets[a]
        for early, late, of_early, of_late in ((a1, b2, a2, b1), (b1, a2, b2, a1)):
            sides = (late, early, of_late) if len(late) < len(early) else (early, late, of_early)
            planted.append(Planted("switch", *sides))
    for a, b in draw(pairs[(size[pairs] > least).all(1)], quota // 2):
        out[a], out[b] = tracklets[b], tracklets[a]
        rest = [np.setdiff1d(groups[int(tracklets[row])], row) for row in (a, b)]
        planted.append(Planted("swap", np.array([a]), rest[1], rest[0]))
        planted.append(Planted("swap", np.array([b]), rest[0], rest[1]))
    for new, (row,) in enumerate(draw(np.flatnonzero(parted)[:, None], quota), int(tracklets.max(initial=0)) + 1):
        early, late = np.split(groups[int(tracklets[row])], [before[row]])
        out[late] = new
        sides = (late, early) if len(late) < len(early) else (early, late)
        planted.append(Planted("fragment", sides[0], np.empty(0, np.int64), sides[1]))
    return crops.assign(tracklet=out), planted


def fate(error: Planted, labels: np.ndarray) -> str:
    """What became of most guests in a labelling int [N] (-1: none): one of FATES.

    stayed: in the identity that holds most of the host; home: in the one that holds most of the origin; removed:
    in none; elsewhere: in any other.
    """
    host, home = _most(labels[error.host]), _most(labels[error.origin])
    seen = Counter(
        "removed" if label < 0 else "stayed" if label == host else "home" if label == home else "elsewhere"
        for label in labels[error.guest].tolist()
    )
    return max(FATES, key=lambda name: (seen[name], -FATES.index(name)))


def repaired(planted: list[Planted], labels: np.ndarray) -> dict[str, dict[str, int]]:
    """For each kind that was planted, how many errors are repaired in `labels`.

    A switch or a swap is `repaired` when most guests are no longer with the host, a fragment when they are with their
    origin. `removed` and `home`: of how many errors the guests were dropped, and are back with their origin.
    """
    out = {}
    for kind in KINDS:
        if fates := Counter(fate(error, labels) for error in planted if error.kind == kind):
            mended = fates["home"] if kind == "fragment" else fates.total() - fates["stayed"]
            out[kind] = {"repaired": mended, "removed": fates["removed"], "home": fates["home"]}
    return out


def audit(
    crops: pd.DataFrame,
    features: np.ndarray,
    levels: Callable[[pd.DataFrame, np.ndarray], dict[str, np.ndarray]],
    least: int,
    seed: int = SEED,
) -> dict | None:
    """Plant errors into a sample of whole videos, run the levels on it, and count; None where none could be planted.

    crops, features as `checks.checked` returns them. levels: crops and features to the labels int [N] after each
    level by its name; it is called twice, without and with the errors. least: crops of a part, no fewer than a level
    needs to keep it.

    Returns `videos`, `crops` of the sample; under each kind (None: none planted) `planted` and for every level
    `repaired`, `removed`, `home`; under `bystanders` how many crops are guests of no error, and how many of those
    each level dropped that it keeps without the errors.
    """
    rng = np.random.default_rng(seed)
    rows = sample(crops, rng)
    crops, features = crops.iloc[rows].reset_index(drop=True), features[rows]
    crops = crops.assign(video=crops.video.astype("category").cat.remove_unused_categories())
    changed, planted = inject(crops, rng, least=max(2, least))
    if not planted:
        return None
    clean, hurt = levels(crops, features), levels(changed, features)
    after = {level: repaired(planted, labels) for level, labels in hurt.items()}
    out: dict = {"videos": int(crops.video.nunique()), "crops": len(crops)}
    for kind in KINDS:
        n = sum(error.kind == kind for error in planted)
        out[kind] = {"planted": n} | {level: found[kind] for level, found in after.items()} if n else None
    bystander = np.ones(len(crops), bool)
    bystander[np.concatenate([error.guest for error in planted])] = False
    dropped = {level: int((bystander & (clean[level] >= 0) & (hurt[level] < 0)).sum()) for level in hurt}
    return out | {"bystanders": {"crops": int(bystander.sum()), "dropped": dropped}}


def numbers(story: dict | None) -> dict[str, dict[str, float]]:
    """Of `audit`'s story, for each kind that was planted: how many, and after each level the percentage repaired."""
    return {
        kind: {"planted": story[kind]["planted"]}
        | {
            level: round(100 * of["repaired"] / story[kind]["planted"], 1)
            for level, of in story[kind].items()
            if level != "planted"
        }
        for kind in KINDS
        if story and story[kind]
    }


def summary(story: dict | None) -> str:
    """`audit`'s story in one line for a person."""
    if not story:
        return "no errors could be planted: no two tracklets are seen together, and none is long enough to cut"
    kinds = [
        f"{shares['planted']} {kind}{'e' * (kind == 'switch')}s "
        + " / ".join(f"{v:.0f} %" for k, v in shares.items() if k != "planted")
        for kind, shares in numbers(story).items()
    ]
    return f"planted into {story['crops']} crops, repaired after each level: {', '.join(kinds)}"


def _split(keys: np.ndarray, values: np.ndarray) -> tuple[list[int], list[np.ndarray]]:
    """Sorted keys, each once, and the values of each."""
    names, starts = np.unique(keys, return_index=True)
    return names.tolist(), np.split(values, starts[1:]) if len(names) else []


def _most(labels: np.ndarray) -> int:
    """The identity that most crops have (ties: the lowest); -2 where none has one, which no crop's label is."""
    names, counts = np.unique(labels[labels >= 0], return_counts=True)
    return int(names[counts.argmax()]) if len(names) else -2
