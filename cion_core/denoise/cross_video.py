"""Level 3: across videos, identities of one person are linked by a rule, in a Sliding Range over all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core.denoise import cannot_link, noise, quality
from cion_core.denoise.linking import sliding_range
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
    given = _Sequence.of(crops, features, labels, settings.cannot_link)
    nodes, limit, curves = given.nodes, settings.thresholds("cross_video"), {}
    rule = _rule(settings, features.shape[1], saved)
    space, points = rule.fit(nodes)
    if limit.separation is None:
        curves["separation"] = rule.calibrate(nodes, points, settings.false_link_rate)
        limit = replace(limit, separation=curves["separation"].threshold)
    linked = rule.link(nodes, points, limit.separation, limit.radius)
    identity = _named(linked.place, given.names)
    out = given.of_crops(identity)
    cosine = Thresholds(limit.radius, limit.separation if linked.close is None else None)
    before = noise.measure(points, np.arange(len(points)), cosine, forbidden=nodes.forbidden)
    after = noise.measure(points, identity, cosine, forbidden=cannot_link.between(crops, out, given.pairs))
    if linked.close is not None:
        before, after = (replace(m, close_pairs=n) for m, n in zip((before, after), linked.close, strict=True))
    links = Links(settings.linking, given.names, identity, points, nodes.forbidden, space | linked.kept)
    return Level(
        name="cross_video",
        labels=out,
        ledger=given.told(fates(given.names, linked), limit, settings.linking, crops, labels, out),
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
    noise (pairs only where the rule counts them) and links are those of all, and a table of the earlier nodes that
    have another identity now, or were alone and are no longer: node (row of `links`), action, other, distance,
    probability, from (identity of level 3), to.
    """
    given = _Sequence.of(crops, features, labels, settings.cannot_link)
    nodes, old, limit = given.nodes, earlier.links, earlier.thresholds
    m, start = len(old.names), old.place
    fresh, linked = _rule(settings, features.shape[1]).extend(old, nodes, limit.separation, limit.radius)
    points = np.concatenate([old.points, fresh])
    names = np.concatenate([old.names, given.names])
    numbered = np.concatenate([old.identity, given.names + names.max(initial=0) + 1])  # an earlier number comes first
    identity = _named(linked.place, numbered)
    identity = np.where(identity > names.max(initial=0), _named(linked.place, names), identity)
    action, other, distance, probability = fates(names, linked)
    out = given.of_crops(identity[m:])
    joined = np.isin(np.arange(m), [node for merge in linked.merges for node in merge[:2]])
    alone = np.bincount(start, minlength=m)[start] == 1  # and said so until now
    changed = np.flatnonzero((identity[:m] != old.identity) | (alone & joined))
    of = start[changed]  # what merged is told of the first of a set
    cosine = Thresholds(limit.radius)
    before = earlier.after + noise.measure(fresh, np.arange(len(fresh)), cosine)
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
        "node": changed, "action": action[of], "other": other[of], "distance": distance[of],
        "probability": probability[of], "from": old.identity[changed], "to": identity[changed],
    })  # fmt: skip


def _rule(settings: Settings, dim: int, saved: Path | None = None) -> LinkingRule:
    """The rule that the settings name, with its own settings, for features of `dim` numbers."""
    size = {"all": None, "auto": sliding_range.fitting(dim)}.get(settings.range, settings.range)
    stride = None if settings.stride == "auto" else settings.stride
    return RULES.named(settings.linking)(settings.settings(settings.linking), Range(size, stride), saved)


@dataclass(frozen=True)
class _Sequence:
    """The identities that come in as one sequence of nodes: names [n], and what a rule is given of them; pairs of
    crops that show different people."""

    names: np.ndarray
    nodes: Nodes
    pairs: np.ndarray

    @classmethod
    def of(cls, crops: pd.DataFrame, features: np.ndarray | Rows, labels: np.ndarray, cannot: bool) -> _Sequence:
        rows = np.flatnonzero(labels >= 0)
        order, names, video = sequence(crops.iloc[rows], labels[rows])
        groups = np.full(len(labels), -1)
        groups[rows] = np.argsort(order)[np.unique(labels[rows], return_inverse=True)[1]]
        pairs = cannot_link.crop_pairs(crops, cannot)
        forbidden = cannot_link.between(crops, labels, pairs)[order][:, order]
        centres = centroids(features, groups, len(names), quality.weights(crops, pairs))
        return cls(names, Nodes(centres, video, forbidden, features, groups), pairs)

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


def fates(names: np.ndarray, linked: Linked) -> tuple[pd.Categorical, np.ndarray, np.ndarray, np.ndarray]:
    """What became of every node, by the first merge it took part in: action, other (identity, -1: none), distance,
    probability."""
    met, other = np.zeros(len(names), bool), np.full(len(names), -1)
    distance, probability = np.full((2, len(names)), np.nan)
    for (i, j, apart), sure in zip(linked.merges, linked.sure.tolist(), strict=True):
        for node, mate in ((i, j), (j, i)):
            if not met[node]:
                met[node], other[node], distance[node], probability[node] = True, names[mate], apart, sure
    codes = np.where(met, ACTIONS.index("linked"), ACTIONS.index("kept"))
    return pd.Categorical.from_codes(codes, ACTIONS), other, distance, probability
