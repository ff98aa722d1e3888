"""Level 3: across videos, identities of one person are linked by a rule, in a Sliding Range over all of them.

What is compared is the tracklets that identities consist of: one centroid for several of them would be like the
average person, and people who come again are found by the one sight of them that looks the same. Tracklets that level 2
has put into one identity begin together, and stay so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from cion_core.denoise import cannot_link, noise, quality
from cion_core.denoise.linking import sliding_range
from cion_core.denoise.linking.agglomeration import lowest_of_each, sum_over_groups
from cion_core.denoise.linking.nodes import Linked, Links, Nodes
from cion_core.denoise.linking.rules import RULES
from cion_core.denoise.linking.rules.base import LinkingRule
from cion_core.denoise.linking.sliding_range import Range
from cion_core.denoise.result import Level, ledger
from cion_core.denoise.settings import Settings, Thresholds
from cion_core.neighbours.arrays import centroids
from cion_core.neighbours.rows import Rows
from cion_core.tables import ACTIONS


def denoise(
    crops: pd.DataFrame,
    features: np.ndarray | Rows,
    labels: np.ndarray,
    settings: Settings,
    saved: Path | None = None,
) -> Level:
    """Level 3: links identities of all videos by the rule that the settings name; every crop that comes in stays.

    crops, features as `checks.checked` returns them; labels int64 [N] from level 2, -1 for crops without an identity
    (they stay without). saved: a file (.npz) from which a killed run goes on, as far as the rule keeps one.
    """
    given = Sequence.of(crops, features, labels, settings.cannot_link)
    nodes, limit, curves = given.nodes, settings.thresholds("cross_video"), {}
    rule = _rule(settings, features.shape[1], saved)
    space, points = rule.fit(nodes)
    if limit.separation is None:
        curves["separation"] = rule.calibrate(nodes, points, settings.false_link_rate)
        limit = replace(limit, separation=curves["separation"].threshold)
    linked = rule.link(nodes, points, limit.separation, limit.radius)
    identity = _named(linked.place, given.names)
    out = given.of_crops(identity)
    if linked.close is None:
        before = noise.measure(points, nodes.start, limit, _among(nodes))
        after = noise.measure(points, identity, limit, cannot_link.between(crops, out, given.pairs))
    else:
        spheres, (then, now) = Thresholds(limit.radius), linked.close
        before = replace(noise.measure(points, nodes.start, spheres), close_pairs=then)
        after = replace(noise.measure(points, identity, spheres), close_pairs=now)
    links = Links(
        settings.linking, given.names, identity, points, nodes.forbidden, space | linked.kept,
        positions=rule.sliding.bounds(len(nodes)),
    )  # fmt: skip
    return Level(
        name="cross_video",
        labels=out,
        ledger=given.told(fates(given.names, nodes.start, linked), limit, settings.linking, crops, labels, out),
        thresholds=limit,
        before=replace(before, crops=given.crops),
        after=replace(after, crops=given.crops),
        calibration=curves,
        links=links.with_merges(linked),
    )


def extend(
    earlier: Level, crops: pd.DataFrame, features: np.ndarray | Rows, labels: np.ndarray, settings: Settings
) -> tuple[Level, pd.DataFrame]:
    """Level 3 for videos that come later: links their identities to those of `earlier`, at its thresholds and in its
    space; identities keep their numbers, but of several that become one the lowest stays. None is split.

    crops, features, labels: as for `denoise`, of the new videos alone. Returns the level of the new crops, but
    noise (pairs only where the rule counts them) and links are those of all, and a table of the earlier identities of
    level 2 that have another identity now, or were alone and are no longer: name, action, other, distance,
    probability, from (identity of level 3), to.
    """
    given = Sequence.of(crops, features, labels, settings.cannot_link)
    nodes, old, limit = given.nodes, earlier.links, earlier.thresholds
    m = len(old.names)
    fresh, linked = _rule(settings, features.shape[1]).extend(old, nodes, limit.separation, limit.radius)
    points = np.concatenate([old.points, fresh])
    names = np.concatenate([old.names, given.names])
    numbered = np.concatenate([old.identity, given.names + names.max(initial=0) + 1])  # an earlier number comes first
    identity = _named(linked.place, numbered)
    identity = np.where(identity > names.max(initial=0), _named(linked.place, names), identity)
    start = old.place_with(nodes)
    action, other, distance, probability = fates(names, start, linked)
    out = given.of_crops(identity[m:])
    first = np.unique(old.names, return_index=True)[1]  # of each identity of level 2, a node that speaks for it
    alone = np.bincount(start[first], minlength=m)[start[first]] == 1  # and said so until now
    changed = first[(identity[first] != old.identity[first]) | (alone & (action[first] == "linked"))]
    cosine = Thresholds(limit.radius)
    before = earlier.after + noise.measure(fresh, nodes.start, cosine)
    after = noise.measure(points, identity, cosine)
    close = [None, None] if linked.close is None else [earlier.after.close_pairs + n for n in linked.close]
    total = earlier.after.crops + given.crops
    fate = action[m:], other[m:], distance[m:], probability[m:]
    links = replace(old, names=names, identity=identity, points=points, forbidden=old.forbidden_with(nodes))
    level = Level(
        name="cross_video",
        labels=out,
        ledger=given.told(fate, limit, old.rule, crops, labels, out),
        thresholds=limit,
        before=replace(before, crops=total, close_pairs=close[0]),
        after=replace(after, crops=total, close_pairs=close[1]),
        calibration=earlier.calibration,
        links=replace(links, kept=old.kept | linked.kept).with_merges(linked),
    )
    return level, pd.DataFrame({
        "name": names[changed], "action": action[changed], "other": other[changed], "distance": distance[changed],
        "probability": probability[changed], "from": old.identity[changed], "to": identity[changed],
    })  # fmt: skip


def _rule(settings: Settings, dim: int, saved: Path | None = None) -> LinkingRule:
    """The rule that the settings name, with its own settings, for features of `dim` numbers."""
    size = {"all": None, "auto": sliding_range.largest_fitting(dim)}.get(settings.range, settings.range)
    stride = None if settings.stride == "auto" else settings.stride
    return RULES.named(settings.linking)(settings.settings(settings.linking), Range(size, stride), saved)


@dataclass(frozen=True)
class Sequence:
    """What comes in as one sequence of nodes: names [n], the identity of each, and what a rule is given of them; pairs
    of crops that show different people."""

    names: np.ndarray
    nodes: Nodes
    pairs: np.ndarray

    @classmethod
    def of(cls, crops: pd.DataFrame, features: np.ndarray | Rows, labels: np.ndarray, cannot: bool) -> Sequence:
        groups, names = parts(crops.tracklet.to_numpy(), labels)
        rows = np.flatnonzero(groups >= 0)
        order, _, video = sequence(crops.iloc[rows], groups[rows])
        pairs = cannot_link.crop_pairs(crops, cannot)
        forbidden = cannot_link.between(crops, groups, pairs)[order][:, order]
        groups[rows], names = np.argsort(order)[groups[rows]], names[order]
        forbidden = _elsewhere(forbidden, names)
        centres = centroids(features, groups, len(names), quality.weights(crops, pairs))
        return cls(names, Nodes(centres, video, forbidden, features, groups, lowest_of_each(names)), pairs)

    @property
    def crops(self) -> int:
        return int((self.nodes.groups >= 0).sum())

    def of_crops(self, identity: np.ndarray) -> np.ndarray:
        """The identity of each crop, int64 [N], -1: none, from that of each node."""
        groups = self.nodes.groups
        out = np.full(len(groups), -1, np.int64)
        out[groups >= 0] = identity[groups[groups >= 0]]
        return out

    def told(
        self,
        fate: tuple[pd.Categorical, np.ndarray, np.ndarray, np.ndarray],
        limit: Thresholds,
        rule: str,
        crops: pd.DataFrame,
        labels: np.ndarray,
        out: np.ndarray,
    ) -> pd.DataFrame:
        """The ledger: what became of each node, said of its crops."""
        rows = np.flatnonzero(self.nodes.groups >= 0)
        *told, probability = (column[self.nodes.groups[rows]] for column in fate)
        by = pd.Categorical.from_codes(np.zeros(len(rows), np.int8), [rule])
        return ledger(
            crops.iloc[rows], "cross_video", *told, limit.separation, by, labels[rows], out[rows], probability
        )


def parts(tracklets: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What an identity consists of: the tracklets that are at home in it, without those of their crops that are not.

    tracklets, labels int64 [N], -1: none. A crop that came from elsewhere, or from a part cut off its tracklet, goes
    with the largest of the identity's tracklets (ties: the lowest), or makes a part with others of its kind where none
    is at home. Returns the part of each crop, int64 [N], -1: none, numbered by identity and tracklet, and the identity
    of each part.
    """
    home = cannot_link.homes(tracklets, labels).reindex(tracklets).to_numpy()
    own = (labels >= 0) & (labels == home)
    largest = cannot_link.homes(labels[own], tracklets[own])
    part = np.where(own, tracklets, largest.reindex(labels).fillna(-1).to_numpy(np.int64))
    kept = np.flatnonzero(labels >= 0)
    names, name = np.unique(labels[kept], return_inverse=True)
    every, of = np.unique(part[kept], return_inverse=True)
    found, number = np.unique(name * len(every) + of, return_inverse=True)
    out = np.full(len(labels), -1, np.int64)
    out[kept] = number
    return out, names[found // max(len(every), 1)]


def _elsewhere(forbidden: sparse.csr_matrix, names: np.ndarray) -> sparse.csr_matrix:
    """Forbidden pairs without those of one name: a tracklet that level 2 moved there crop by crop may have been seen
    with another one, but what level 2 has put together is not parted."""
    i, j = forbidden.nonzero()
    forbidden.data = names[i] != names[j]
    forbidden.eliminate_zeros()
    return forbidden


def _among(nodes: Nodes) -> sparse.csr_matrix:
    """Who can never be one among the sets that nodes begin in."""
    return sum_over_groups(nodes.forbidden, np.unique(nodes.start, return_inverse=True)[1]).astype(bool)


def _named(place: np.ndarray, names: np.ndarray) -> np.ndarray:
    """The lowest of the names in each node's set, int64 [n]."""
    lowest = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(lowest, place, names)
    return lowest[place]


def sequence(crops: pd.DataFrame, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What all videos hold (`labels` int64 [N]) as one long sequence: by video, and by when it is first seen in it.

    Returns their order among the sorted labels, and the label and the video of each in that order, int [n].
    """
    names, groups = np.unique(labels, return_inverse=True)
    video, first = np.empty(len(names), np.int64), np.full(len(names), np.iinfo(np.int64).max)
    video[groups] = pd.factorize(crops.video, sort=True)[0]
    np.minimum.at(first, groups, crops.frame.to_numpy(np.int64))
    order = np.lexsort((names, first, video))
    return order, names[order], video[order]


def fates(
    names: np.ndarray, start: np.ndarray, linked: Linked
) -> tuple[pd.Categorical, np.ndarray, np.ndarray, np.ndarray]:
    """What became of every node, by the first merge that the set took part in which it begins in (`start` int [n], the
    lowest node of each): action, other (identity, -1: none), distance, probability."""
    met, other = np.zeros(len(names), bool), np.full(len(names), -1)
    distance, probability = np.full((2, len(names)), np.nan)
    for (i, j, apart), sure in zip(linked.merges, linked.merge_probability.tolist(), strict=True):
        for node, mate in ((i, j), (j, i)):
            if not met[node]:
                met[node], other[node], distance[node], probability[node] = True, names[mate], apart, sure
    codes = np.where(met, ACTIONS.index("linked"), ACTIONS.index("kept"))[start]
    return pd.Categorical.from_codes(codes, ACTIONS), other[start], distance[start], probability[start]
