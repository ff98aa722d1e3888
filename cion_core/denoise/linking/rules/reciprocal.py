"""Average linkage on k-reciprocal neighbourhoods, in a space that is adapted to the footage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cion_core.config import Section
from cion_core.denoise.linking import agglomeration, sliding_range
from cion_core.denoise.linking.belief import ERROR, LEVELS, Belief, asked
from cion_core.denoise.linking.calibration import Calibration
from cion_core.denoise.linking.nodes import Kept, Linked, Links, Nodes
from cion_core.denoise.linking.rules.base import LinkingRule
from cion_core.denoise.linking.sliding_range import Position
from cion_core.denoise.linking.space import Space, learnt
from cion_core.denoise.linking.strangers import measured

ALONE = 0.5  # distance up to which is linked where nothing can be said of strangers


class Reciprocal(LinkingRule):
    """Nodes are one person if their centroids lie in each other's neighbourhoods, as those of most of their set do.

    The separation is a distance of neighbourhoods (1 - `k_reciprocal.similarity`), which needs no scale of the
    features; centroids are compared less their video's mean and in a space learnt from the footage (`space.learnt`).
    """

    about = "average linkage on the neighbourhoods of centroids, in a space adapted to the footage"
    compares = "neighbourhoods"
    adapts = True
    space: Space  # that `fit` found
    first: Position | None = None  # the first position: compared for calibration, and linked with what was found
    belief: Belief | None = None  # what share of the links is right, where it was asked

    class Settings(Section):
        """centre: subtract each video's mean before comparing."""

        centre: bool = True

    def fit(self, nodes: Nodes) -> tuple[Kept, np.ndarray]:
        """A space learnt from the nodes' crops and their surest links."""
        self.space, points = learnt(
            nodes.centres, nodes.video, nodes.features, nodes.groups, nodes.forbidden, nodes.start,
            self.settings.centre, self.sliding.size,
        )  # fmt: skip
        return self.space.arrays(), points

    def calibrate(self, nodes: Nodes, points: np.ndarray, rate: float) -> Calibration:
        """As far as links are worth it, in the first position of the Sliding Range; `rate` has no say."""
        first = self.sliding.first  # what one position holds is what the threshold must suit
        points, videos, start = points[first], nodes.video[first], nodes.start[first]
        forbidden = nodes.forbidden[first, first]
        strangers = measured(self.space.unlinked.of(nodes.centres, nodes.video)[first], videos)
        if strangers is None:
            rule = f"neighbourhoods alone: {len(points)} tracklets are too few to say how alike strangers are"
            return Calibration(ALONE, rule)
        self.first = Position.of(points, forbidden)
        merges, self.belief = asked(self.first.similar, videos, forbidden, start, strangers)
        label = agglomeration.cut(start, merges, self.belief.best())
        return calibration(self.belief, float(elsewhere(label, videos).mean()), len(points))

    def link(self, nodes: Nodes, points: np.ndarray, separation: float, radius: float | None) -> Linked:
        """Position by position; a killed run goes on after its last one."""
        done = sliding_range.link(
            points, 1 - separation, nodes.forbidden, self.sliding, radius, self.saved, self.first, nodes.start
        )
        return self._told(done, self.belief)

    def extend(self, old: Links, nodes: Nodes, separation: float, radius: float | None) -> tuple[np.ndarray, Linked]:
        """New nodes are compared with all nodes, old ones with one another only where a new one is like both."""
        points = Space.of_arrays(old.kept).of(nodes.centres, nodes.video)
        both, forbidden = np.concatenate([old.points, points]), old.forbidden_with(nodes)
        start = old.place_with(nodes)
        done = sliding_range.extended(both, start, old.kept["index"], 1 - separation, forbidden, radius)
        return points, self._told(done, Belief.of_arrays(old.kept))

    @staticmethod
    def _told(done: Linked, belief: Belief | None) -> Linked:
        """With the probability of each merge, and the belief that it comes from."""
        if belief is None:
            return done
        similar = 1 - np.array([distance for *_, distance in done.merges])
        return replace(done, probability=belief.probability(similar), kept=done.kept | belief.arrays())


def elsewhere(label: np.ndarray, videos: np.ndarray) -> np.ndarray:
    """Which nodes are linked to one of another video, bool [n]; label, videos int [n]."""
    low, high = np.full(len(label), videos.max()), np.zeros(len(label), videos.dtype)
    np.minimum.at(low, label, videos)
    np.maximum.at(high, label, videos)
    return (low < high)[label]


def calibration(belief: Belief, linked: float, n: int) -> Calibration:
    """The distance up to which linking is worth it, in words too; the curve holds right links as a share of the most,
    and right, their share of all. linked: the share of the n nodes that are linked to another video there."""
    level = belief.best()
    right, links = belief.share(level), float(np.interp(level, LEVELS, belief.links))
    rule = (
        f"an estimated {right:.0%} of the links are right (give or take {ERROR:.0%}), by how many they are and how "
        f"alike strangers are; {linked:.0%} of {n} tracklets are linked to another video, some {right * linked:.0%} "
        "rightly, as far as people come again"
    )
    found = belief.links * belief.right
    curve = zip(LEVELS, found / max(found.max(), 1e-9), belief.right, strict=True)
    points = [
        {"threshold": round(float(1 - at), 5), "positives": round(float(share), 5), "right": round(float(good), 5)}
        for at, share, good in reversed(list(curve))
    ]  # fmt: skip
    return Calibration(1 - level, rule, round(right * links * n), 0, points)
