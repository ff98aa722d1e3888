"""Level 3: across videos, a Sliding Range over the sequence of identities and Linking Relations in it (DESIGN §4)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from cion_core.denoise.linking import calibration as calibrate_links, agglomeration as linkage, sliding_range as sliding, space
from cion_core.denoise import cannot_link, noise
from cion_core.neighbours import search as nearest
from cion_core.denoise.result import Level, Links, ledger
from cion_core.denoise.noise import Noise
from cion_core.neighbours.rows import Rows
from cion_core.errors import CionError
from cion_core.tables import ACTIONS

LINKINGS = ("reciprocal", "published")


def denoise(
    crops: pd.DataFrame,
    features: np.ndarray,
    labels: np.ndarray,
    limit: Noise = Noise(),
    linking: str = "reciprocal",
    size: int | None = None,
    stride: int | None = None,
    cannot: bool = True,
    centre: bool = True,
    false_link_rate: float = 0.05,
    saved: Path | None = None,
) -> Level:
    """Level 3: links identities of all videos; every crop that comes in stays.

    crops, features as `checks.checked` returns them; labels int64 [N] from level 2, -1 for crops without an identity
    (they stay without). linking "published": links centroids closer than the separation, in plain cosine distance;
    "reciprocal": average linkage on the k-reciprocal neighbourhoods of centroids less their video's mean (`centre`),
    in a space adapted to the footage, and the separation is a distance of neighbourhoods (`reciprocal.similarity`).
    size, stride: the Sliding Range, None: everything at once.
    """
    if linking not in LINKINGS:
        raise CionError(f"linking {linking!r}: must be one of {', '.join(LINKINGS)}")
    nodes = _Nodes.of(crops, features, labels, cannot)
    points, own, lists, curves = nodes.centres, None, None, {}
    if linking == "reciprocal":
        own, points = space.learnt(points, nodes.video, features, nodes.groups, nodes.forbidden, centre, size)
    if limit.separation is None:
        first = slice(size)  # what one position holds is what the threshold must suit
        part, videos, apart = points[first], nodes.video[first], nodes.forbidden[first, first]
        if linking == "published":
            curve = calibrate_links.published(part, videos, apart, false_link_rate)
        else:
            lists = nearest.neighbours(part, nearest.WIDEST + nearest.SPARE)
            curve = calibrate_links.reciprocal(part, lists, videos, apart)
        curves["separation"] = curve
        limit = Noise(limit.radius, curve.threshold)
    if linking == "published":
        linked = sliding.published(points, limit.separation, limit.radius, nodes.forbidden, size, stride)
    else:
        linked = sliding.link(points, 1 - limit.separation, nodes.forbidden, size, stride, limit.radius, saved, lists)
    identity = _named(linked.place, nodes.names)
    out = nodes.of_crops(identity)
    cosine = Noise(limit.radius, limit.separation if linking == "published" else None)
    before = noise.measure(points, np.arange(len(points)), cosine, forbidden=nodes.forbidden)
    after = noise.measure(points, identity, cosine, forbidden=cannot_link.between(crops, out, nodes.pairs))
    if linking == "reciprocal":
        before, after = (replace(m, close_pairs=n) for m, n in zip((before, after), linked.close, strict=True))
    return Level(
        name="cross_video",
        labels=out,
        ledger=nodes.told(explained(nodes.names, identity, linked.merges, limit, linking), crops, labels, out),
        noise=limit,
        before=replace(before, crops=nodes.crops),
        after=replace(after, crops=nodes.crops),
        calibration=curves,
        links=Links(nodes.names, identity, points, nodes.forbidden, linked.index, own),
    )


def extend(
    earlier: Level, crops: pd.DataFrame, features: np.ndarray | Rows, labels: np.ndarray, cannot: bool = True
) -> tuple[Level, pd.DataFrame]:
    """Level 3 for videos that come later: links their identities to those of `earlier`, at its thresholds and in its
    space; identities keep their numbers, but of several that become one the lowest stays. None is split.

    crops, features, labels: as for `denoise`, of the new videos alone. Returns the level of the new crops, but
    noise (in published linking without pairs) and links are those of all, and a table of the earlier nodes that have
    another identity now, or were alone and are no longer: node (row of `links`), action, reason, distance, from
    (identity of level 3), to.
    """
    nodes, old, limit = _Nodes.of(crops, features, labels, cannot), earlier.links, earlier.noise
    fresh = nodes.centres if old.space is None else old.space.of(nodes.centres, nodes.video)
    m, points = len(old.names), np.concatenate([old.points, fresh])
    forbidden = sparse.block_diag([old.forbidden, nodes.forbidden], "csr", dtype=bool)
    start = linkage.lowest(old.identity)
    if old.space is None:
        linked = sliding.extended_published(points, start, limit.separation, limit.radius, forbidden)
    else:
        linked = sliding.extended(points, start, old.index, 1 - limit.separation, forbidden, limit.radius)
    names = np.concatenate([old.names, nodes.names])
    given = np.concatenate([old.identity, nodes.names + names.max(initial=0) + 1])  # an earlier number comes first
    identity = _named(linked.place, given)
    identity = np.where(identity > names.max(initial=0), _named(linked.place, names), identity)
    linking = "published" if old.space is None else "reciprocal"
    action, reason, distance = explained(names, identity, linked.merges, limit, linking)
    out = nodes.of_crops(identity[m:])
    joined = np.isin(np.arange(m), [node for merge in linked.merges for node in merge[:2]])
    alone = np.bincount(start, minlength=m)[start] == 1  # and said so until now
    changed = np.flatnonzero((identity[:m] != old.identity) | (alone & joined))
    of = start[changed]  # what merged is told of the first of a set
    cosine = Noise(limit.radius)
    before = earlier.after + noise.measure(fresh, np.arange(len(fresh)), cosine)
    after = noise.measure(points, identity, cosine)
    close = [None, None] if linked.close is None else [earlier.after.close_pairs + n for n in linked.close]
    total = earlier.after.crops + nodes.crops
    level = Level(
        name="cross_video",
        labels=out,
        ledger=nodes.told((action[m:], reason[m:], distance[m:]), crops, labels, out),
        noise=limit,
        before=replace(before, crops=total, close_pairs=close[0]),
        after=replace(after, crops=total, close_pairs=close[1]),
        calibration=earlier.calibration,
        links=Links(names, identity, points, forbidden, linked.index, old.space),
    )
    return level, pd.DataFrame({
        "node": changed, "action": action[of], "reason": reason[of], "distance": distance[of],
        "from": old.identity[changed], "to": identity[changed],
    })  # fmt: skip


@dataclass(frozen=True)
class _Nodes:
    """The identities that come in as one sequence: names, video int and unit centroids of each, [n]; groups int [N]:
    the node of each crop, -1: none; pairs of crops, and forbidden pairs of nodes, that show different people."""

    names: np.ndarray
    video: np.ndarray
    centres: np.ndarray
    groups: np.ndarray
    pairs: np.ndarray
    forbidden: sparse.csr_matrix

    @classmethod
    def of(cls, crops: pd.DataFrame, features: np.ndarray | Rows, labels: np.ndarray, cannot: bool) -> _Nodes:
        rows = np.flatnonzero(labels >= 0)
        order, names, video = sequence(crops.iloc[rows], labels[rows])
        groups = np.full(len(labels), -1)
        groups[rows] = np.argsort(order)[np.unique(labels[rows], return_inverse=True)[1]]
        pairs = cannot_link.crop_pairs(crops, cannot)
        forbidden = cannot_link.between(crops, labels, pairs)[order][:, order]
        return cls(names, video, noise.centroids(features, groups, len(names)), groups, pairs, forbidden)

    @property
    def crops(self) -> int:
        return int((self.groups >= 0).sum())

    def of_crops(self, identity: np.ndarray) -> np.ndarray:
        """The identity of each crop, int64 [N], -1: none, from that of each node."""
        out = np.full(len(self.groups), -1, np.int64)
        out[self.groups >= 0] = identity[self.groups[self.groups >= 0]]
        return out

    def told(
        self,
        fate: tuple[pd.Categorical, pd.Categorical, np.ndarray],
        crops: pd.DataFrame,
        labels: np.ndarray,
        out: np.ndarray,
    ) -> pd.DataFrame:
        """The ledger: what became of each node, said of its crops."""
        rows = np.flatnonzero(self.groups >= 0)
        told = [column[self.groups[rows]] for column in fate]
        return ledger(crops.iloc[rows], "cross_video", *told, labels[rows], out[rows])


def _named(place: np.ndarray, names: np.ndarray) -> np.ndarray:
    """The lowest of the names in each node's set, int64 [n]."""
    lowest = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(lowest, place, names)
    return lowest[place]


def sequence(crops: pd.DataFrame, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The identities of all videos as one long sequence: by video, and by when they are first seen in it.

    Returns their order among the sorted identities, and the identity and the video of each in that order, int [n].
    """
    names, groups = np.unique(labels, return_inverse=True)
    video, first = np.empty(len(names), np.int64), np.full(len(names), np.iinfo(np.int64).max)
    video[groups] = pd.factorize(crops.video, sort=True)[0]
    np.minimum.at(first, groups, crops.frame.to_numpy(np.int64))
    order = np.lexsort((names, first, video))
    return order, names[order], video[order]


def explained(
    before: np.ndarray, after: np.ndarray, merges: sliding.Merges, limit: Noise, linking: str
) -> tuple[pd.Categorical, pd.Categorical, np.ndarray]:
    """Action, reason and distance of every identity, from the first merge it took part in."""
    joined: dict[int, tuple[int, float]] = {}
    for i, j, distance in merges:
        joined.setdefault(i, (int(before[j]), distance))
        joined.setdefault(j, (int(before[i]), distance))
    what = "centroids" if linking == "published" else "neighbourhoods"
    near, reasons = f"{limit.separation:.3f}", []
    distances = np.full(len(before), np.nan)
    for node, (name, new) in enumerate(zip(before.tolist(), after.tolist(), strict=True)):
        if node in joined:
            other, distances[node] = joined[node]
            why = f"linked with identity {other}: {what} {distances[node]:.3f} apart, below {near}"
            reasons.append(f"{why}; now identity {new}")
        else:
            reasons.append(f"identity {name}: no other within {near} may be the same")
    linked = np.isin(np.arange(len(before)), list(joined))
    action = pd.Categorical.from_codes(np.where(linked, ACTIONS.index("linked"), ACTIONS.index("kept")), ACTIONS)
    return action, pd.Categorical(reasons), distances
