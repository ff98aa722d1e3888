"""Average linkage on k-reciprocal neighbourhoods, in a space that is adapted to the footage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cion_core.config import Section
from cion_core.denoise.linking import agglomeration, sliding_range
from cion_core.denoise.linking.belief import ERROR, SIMILARITIES, Belief, assess_links
from cion_core.denoise.linking.calibration import Calibration
from cion_core.denoise.linking.nodes import LinkingResult, LinkRecord, Nodes, RuleState
from cion_core.denoise.linking.rules.base import LinkingRule
from cion_core.denoise.linking.sliding_range import Position
from cion_core.denoise.linking.space import LinkingSpace, learn_linking_space
from cion_core.denoise.linking.strangers import measure_strangers

# The distance up to which is linked where nothing can be said of strangers.
WITHOUT_STRANGERS = 0.5


class Reciprocal(LinkingRule):
    """Nodes are one person if their centroids lie in each other's neighbourhoods.

    The separation is a distance of neighbourhoods (1 - `neighbours.similarity`), which needs no
    scale of the features. Centroids are compared less their video's mean and in a space learnt from
    the footage (`space.learn_linking_space`).
    """

    about = "average linkage on the neighbourhoods of centroids, in a space adapted to the footage"
    compares = "neighbourhoods"
    adapts = True
    # What `fit` found.
    space: LinkingSpace
    # The first position: it is compared for calibration, and linked with what was found.
    first: Position | None = None
    # What share of the links is right, where it was asked.
    belief: Belief | None = None

    class Settings(Section):
        """centre: subtract each video's mean before comparing."""

        centre: bool = True

    def fit(self, nodes: Nodes) -> tuple[RuleState, np.ndarray]:
        """A space learnt from the nodes' crops and their surest links."""
        self.space, points = learn_linking_space(
            nodes.centres,
            nodes.views,
            nodes.features,
            nodes.groups,
            nodes.forbidden,
            nodes.initial_sets,
            self.settings.centre,
            self.sliding.size,
        )
        return self.space.arrays(), points

    def calibrate(self, nodes: Nodes, points: np.ndarray, rate: float) -> Calibration:
        """As far as links are worth it, in the first position of the Sliding Range.

        The threshold must suit what one position holds. This rule does not use `rate`.
        """
        first = self.sliding.first
        points = points[first]
        views = nodes.views[first]
        before_links = self.space.before_links.project(nodes.centres, nodes.views)
        strangers = measure_strangers(before_links[first], views)
        if strangers is None:
            how = (
                f"neighbourhoods alone: {len(points)} tracklets are too few to say how alike "
                "strangers are"
            )
            return Calibration(WITHOUT_STRANGERS, how)

        forbidden = nodes.forbidden[first, first]
        initial_sets = nodes.initial_sets[first]
        self.first = Position.compare(points, forbidden)
        merges, self.belief = assess_links(
            self.first.similar, views, forbidden, initial_sets, strangers
        )
        sets = agglomeration.apply_merges(initial_sets, merges, self.belief.least_worthwhile())
        share_linked = float(linked_to_other_view(sets, views).mean())
        return describe_belief(self.belief, share_linked, len(points))

    def link(
        self, nodes: Nodes, points: np.ndarray, separation: float, radius: float | None
    ) -> LinkingResult:
        """Position by position; a killed run goes on after its last one."""
        linked = sliding_range.link(
            points,
            1 - separation,
            nodes.forbidden,
            self.sliding,
            radius,
            self.saved,
            self.first,
            nodes.initial_sets,
        )
        return _with_probability(linked, self.belief)

    def extend(
        self, old: LinkRecord, nodes: Nodes, separation: float, radius: float | None
    ) -> tuple[np.ndarray, LinkingResult]:
        """New nodes are compared with all nodes, old ones only where a new one is like both."""
        points = LinkingSpace.of_arrays(old.rule_state).project(nodes.centres, nodes.views)
        linked = sliding_range.extend(
            np.concatenate([old.points, points]),
            old.sets_with(nodes),
            old.rule_state["index"],
            1 - separation,
            old.forbidden_with(nodes),
            radius,
        )
        return points, _with_probability(linked, Belief.of_arrays(old.rule_state))


def _with_probability(linked: LinkingResult, belief: Belief | None) -> LinkingResult:
    """What is linked, with the probability of each merge and the belief that it comes from."""
    if belief is None:
        return linked
    similarity = 1 - np.array([distance for *_, distance in linked.merges])
    probability = belief.probability(similarity)
    state = linked.rule_state | belief.arrays()
    return replace(linked, probability=probability, rule_state=state)


def linked_to_other_view(sets: np.ndarray, views: np.ndarray) -> np.ndarray:
    """Which nodes are linked to one of another view, bool [n].

    Args:
        sets: int [n], the set of each node, by one of its nodes.
        views: int [n], from 0.
    """
    lowest = np.full(len(sets), views.max())
    highest = np.zeros(len(sets), views.dtype)
    np.minimum.at(lowest, sets, views)
    np.maximum.at(highest, sets, views)
    in_several_views = lowest < highest
    return in_several_views[sets]


def describe_belief(belief: Belief, linked: float, count: int) -> Calibration:
    """The distance up to which linking is worth it, and what is believed there in words.

    Args:
        belief: in the links at all similarities.
        linked: the share of nodes that are linked to another video at that distance.
        count: how many nodes there are.

    Returns:
        A calibration whose curve holds right links as a share of the most there are, and their
        share of all links.
    """
    least = belief.least_worthwhile()
    right = belief.share(least)
    links = float(np.interp(least, SIMILARITIES, belief.links))
    how = (
        f"an estimated {right:.0%} of the links are right (give or take {ERROR:.0%}), by how many "
        f"they are and how alike strangers are; {linked:.0%} of {count} tracklets are linked to "
        f"another video, some {right * linked:.0%} rightly, as far as people come again"
    )

    # From the highest similarity on, so by rising distance.
    right_links = belief.links * belief.right
    share_of_most = right_links / max(right_links.max(), 1e-9)
    points = []
    for at, found, share in zip(SIMILARITIES, share_of_most, belief.right, strict=True):
        point = {
            "threshold": round(float(1 - at), 5),
            "positives": round(float(found), 5),
            "right": round(float(share), 5),
        }
        points.insert(0, point)
    return Calibration(1 - least, how, round(right * links * count), 0, points)
