"""Why is this crop here: its way through the levels, with distances, neighbours and thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import params, tables
from cion_core.denoise import cannot_link, noise, space, stage
from cion_core.denoise.noise import Noise
from cion_core.errors import CionError

NEAR = 3  # neighbours that are told
SHOWN = 4  # crops that stand for an identity in a picture
MARKS = dict(zip(tables.LEVELS, "①②③", strict=True))


@dataclass(frozen=True)
class Group:
    """An identity beside the crop: `distance` is in the level's space, from the crop's own identity, but from the crop
    itself if it came alone (dropped, or moved from one identity to another).

    forbidden: it was seen together with the crop's, so they are two people. shown: its crops nearest to its centroid.
    """

    identity: int
    distance: float
    crops: int
    forbidden: bool
    shown: tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """Where a crop lies in its tracklet: its distance to the centroid of all, its rank (1: farthest), its mates'."""

    distance: float
    rank: int
    of: int
    median: float
    largest: float


@dataclass(frozen=True)
class Step:
    """What one level did: the ledger's words, and what lies around.

    before, after: identity (-1: none), and of the latter how many crops, tracklets and videos it has, and the crops
    that show it best. joined: the identities of before that the level put together with the crop's, nearest first,
    NEAR of `parts`. others: the nearest identities of after that are not the crop's. adapted: distances are between
    centroids in the space that reciprocal linking adapts to the footage.
    """

    level: str
    action: str
    reason: str
    distance: float | None
    limit: Noise
    before: int
    after: int
    crops: int
    tracklets: int
    videos: int
    shown: tuple[int, ...]
    place: Place | None = None
    parts: int = 0
    joined: tuple[Group, ...] = ()
    others: tuple[Group, ...] = ()
    adapted: bool = False


@dataclass(frozen=True)
class Story:
    """A crop, where it was seen (column: value), and a step for every level."""

    crop: int
    seen: dict[str, object]
    steps: tuple[Step, ...]


def explain(
    crop: int,
    crops: pd.DataFrame,
    features: np.ndarray,
    labels: dict[str, np.ndarray],
    ledgers: dict[str, pd.DataFrame],
    limits: dict[str, Noise],
    cannot: bool = True,
    linking: str = "reciprocal",
    centre: bool = True,
) -> Story:
    """The way of one crop through the levels.

    crops, features as `checks.checked` returns them. For each level by name: labels int64 [N] after it, its ledger
    and its thresholds. cannot, linking, centre: as the levels were run. Raises CionError on a crop that is not there.
    """
    numbers = crops.crop.to_numpy()
    row = int(np.searchsorted(numbers, crop))
    if row == len(numbers) or numbers[row] != crop:
        valid = f"{numbers[0]} to {numbers[-1]}" if len(numbers) else "none"
        raise CionError(f"crop {crop}: no such crop; there are {len(numbers)}, with numbers {valid}")
    here = np.flatnonzero((crops.video == crops.video.iloc[row]).to_numpy())
    everywhere = np.arange(len(crops))
    before, steps = crops.tracklet.to_numpy(np.int64), []
    for level, rows in zip(tables.LEVELS, (here, here, everywhere), strict=True):
        if level == "tracklet":
            around = {"place": _place(features, np.flatnonzero(before == before[row]), row)}
        else:
            across = level == "cross_video"
            adapt = centre if across and linking == "reciprocal" else None
            around = _around(crops, features, before, labels[level], row, rows, cannot, across, adapt)
            around["adapted"] = adapt is not None
        steps.append(_step(level, crops, features, before, labels[level], ledgers[level], limits[level], row, around))
        before = labels[level]
    where = crops.iloc[row]
    return Story(crop, {name: where[name] for name in ("video", "frame", "tracklet")}, tuple(steps))


def run(crop: int, p: params.Denoise, root: Path = Path("data")) -> Story:
    """`explain` from the files of the stages; CionError names the one that is missing."""
    crops, features = stage.read_crops(root)
    labels, ledgers, limits = {}, {}, {}
    for level in tables.LEVELS:
        labels[level] = stage.read_result(crops, root, level)
        ledgers[level] = tables.read(tables.Ledger, root / "denoise" / level / "ledger.parquet")
        limits[level] = stage.read_limit(root, level)
    story = explain(crop, crops, features, labels, ledgers, limits, p.cannot_link, p.linking, p.centre)
    columns = ["video", "frame", "time_s", "tracklet", "shard"]
    where = pd.read_parquet(root / "tracklets/crops.parquet", columns=columns, filters=[("crop", "==", crop)])
    return Story(crop, where.iloc[0].to_dict(), story.steps)


def text(story: Story) -> str:
    """The story for a terminal."""
    seen = {name: f"{v:.1f} s" if name == "time_s" else v for name, v in story.seen.items()}
    lines = [f"crop {story.crop}: " + ", ".join(f"{name.removesuffix('_s')} {v}" for name, v in seen.items())]
    for step in story.steps:
        limits = {"radius": step.limit.radius, "separation": step.limit.separation}
        told = ", ".join(f"{name} {value:.3f}" for name, value in limits.items() if value is not None)
        lines += ["", f"{MARKS[step.level]} {step.level}: {step.action}" + (f" ({told})" if told else "")]
        lines.append(f"  {step.reason}")
        if step.place:
            lines.append(
                f"  {step.place.distance:.3f} from the centroid of all {step.place.of} crops of its tracklet: number "
                f"{step.place.rank} from far, median {step.place.median:.3f}, largest {step.place.largest:.3f}"
            )
        where = " (in the space that linking adapts to the footage)" if step.adapted else ""
        if step.joined:
            told = ", ".join(f"{g.identity} at {g.distance:.3f}" for g in step.joined)
            more = f" and {step.parts - NEAR} more" if step.parts > NEAR else ""
            lines.append(f"  put together with identity {told}{more}{where}")
        if step.others:
            lines.append(f"  nearest of those it was not put with{where}:")
        for g in step.others:
            why_not = ", seen together: two people" if g.forbidden else ""
            lines.append(f"    identity {g.identity} at {g.distance:.3f}, {_n(g.crops, 'crop')}{why_not}")
        lines.append(f"  identity {_name(step.before)} → {_name(step.after)}" + (
            f": {_n(step.crops, 'crop')}, {_n(step.tracklets, 'tracklet')}, {_n(step.videos, 'video')}"
            if step.after >= 0 else ""))  # fmt: skip
    return "\n".join(lines)


def _step(
    level: str,
    crops: pd.DataFrame,
    features: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    ledger: pd.DataFrame,
    limit: Noise,
    row: int,
    around: dict,
) -> Step:
    told = ledger[ledger.crop == crops.crop.iloc[row]]
    members = np.flatnonzero(after == after[row]) if after[row] >= 0 else np.empty(0, np.int64)
    if len(told):
        action, reason, distance = told[["action", "reason", "distance"]].iloc[-1]
    elif before[row] < 0:
        action, reason, distance = "not reached", "it has no identity since the levels before", np.nan
    else:
        raise CionError(f"crop {crops.crop.iloc[row]}: the ledger of {level} says nothing of it; denoise again")
    return Step(
        level=level, action=action, reason=reason, distance=None if pd.isna(distance) else float(distance),
        limit=limit, before=int(before[row]), after=int(after[row]), crops=len(members),
        tracklets=int(crops.tracklet.iloc[members].nunique()), videos=int(crops.video.iloc[members].nunique()),
        shown=_shown(crops, features, members), **around,
    )  # fmt: skip


def _place(features: np.ndarray, mates: np.ndarray, row: int) -> Place:
    """Of the crop among all crops of its tracklet."""
    values = features[mates]
    far = np.maximum(1 - values @ noise.unit(values.sum(0, keepdims=True))[0], 0)
    own = float(far[mates == row][0])
    return Place(own, int((far > own).sum()) + 1, len(mates), float(np.median(far)), float(far.max()))


def _around(
    crops: pd.DataFrame,
    features: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    row: int,
    rows: np.ndarray,
    cannot: bool,
    across: bool,
    adapt: bool | None,
) -> dict:
    """What the level put together with the crop's identity, and what lies nearest beside it.

    rows: what the level looks at together. across: level 3, which compares centroids of `before`; else level 2, which
    compares crops and the centroids of all crops together. adapt: in the space of reciprocal linking, centred or not;
    None: as the features have it.
    """
    names, centres = _centroids(features, before, rows)
    at = {int(name): i for i, name in enumerate(names)}
    known = rows[before[rows] >= 0]
    node = np.searchsorted(names, before[known])  # of each crop that has an identity before
    if across and before[row] < 0:  # never was compared
        return {}
    if adapt is not None:
        video, groups = np.empty(len(names), np.int64), np.full(len(before), -1)
        video[node], groups[known] = pd.factorize(crops.video.iloc[known], sort=True)[0], node
        pairs = cannot_link.crop_pairs(crops) if cannot else np.empty((0, 2), np.int64)
        apart = cannot_link.between(crops, before, pairs)
        _, centres = space.learnt(centres, video, features, groups, apart, adapt)
    mine = int(after[row])
    homes = cannot_link.homes(before[known], after[known])  # where most of each identity of before is now
    alone = mine < 0 or before[row] < 0 or homes[before[row]] != mine
    me = features[row : row + 1][0] if alone and not across else centres[at[int(before[row])]]
    parts = [name for name, home in homes.items() if mine >= 0 and home == mine and name != before[row]]
    joined = [(float(1 - centres[at[name]] @ me), name) for name in parts]

    if across:  # identities of after, as the mean of their points
        to, points = homes.reindex(names).to_numpy(), centres
    else:
        to, points = after[rows], features[rows]
        if not alone:
            me = noise.unit(points[to == mine].sum(0, keepdims=True))[0]
    ends, means = _centroids(points, to, np.arange(len(to)))
    others = [(float(d), int(name)) for d, name in zip(1 - means @ me, ends, strict=True) if name != mine]
    never = _forbidden(crops.iloc[rows], after[rows], int(np.searchsorted(rows, row)), alone) if cannot else set()

    def told(found: list[tuple[float, int]], labels: np.ndarray) -> tuple[Group, ...]:
        out = []
        for distance, name in sorted(found)[:NEAR]:
            members = rows[labels[rows] == name]
            barred = labels is after and name in never
            out.append(Group(name, max(distance, 0.0), len(members), barred, _shown(crops, features, members)))
        return tuple(out)

    return {"parts": len(parts), "joined": told(joined, before), "others": told(others, after)}


def _forbidden(crops: pd.DataFrame, labels: np.ndarray, row: int, alone: bool) -> set[int]:
    """Identities that the crop's own, or the crop `alone`, can never be one with."""
    pairs = cannot_link.crop_pairs(crops)
    if alone:
        met = labels[pairs[(pairs == row).any(1)]]
        return set(met[met >= 0].tolist())
    names = np.unique(labels[labels >= 0])
    between = cannot_link.between(crops, labels, pairs)[np.searchsorted(names, labels[row])]
    return set(names[between.nonzero()[1]].tolist())


def _centroids(points: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The identities among `rows`, sorted, and their unit centroids."""
    inside = np.full(len(labels), -1, np.int64)
    rows = rows[labels[rows] >= 0]
    names, inside[rows] = np.unique(labels[rows], return_inverse=True)
    return names, noise.centroids(points, inside, len(names))


def _shown(crops: pd.DataFrame, features: np.ndarray, rows: np.ndarray) -> tuple[int, ...]:
    """The crops nearest to the centroid of `rows`, SHOWN at most."""
    if not len(rows):
        return ()
    values = features[rows]
    near = np.argsort(-values @ noise.unit(values.sum(0, keepdims=True))[0], kind="stable")[:SHOWN]
    return tuple(crops.crop.to_numpy()[rows[near]].tolist())


def _name(identity: int) -> str:
    return str(identity) if identity >= 0 else "none"


def _n(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
