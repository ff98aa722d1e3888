"""What a linking rule must do."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np

from cion_core.config import Section
from cion_core.denoise.linking.calibration import Calibration
from cion_core.denoise.linking.nodes import LinkingResult, LinkRecord, Nodes, RuleState
from cion_core.denoise.linking.rules import RULES
from cion_core.denoise.linking.sliding_range import Range
from cion_core.registry import Part


class LinkingRule(Part, of=RULES):
    """Decides which nodes, the tracklets inside identities of level 2, are one person.

    To add one, write a subclass in a file of its own: `about`, a one-line description shown to
    users; the four methods below; and, if anything can be set, a `Settings` section, found at
    `self.settings`. `rules/published.py` is a short example.

    Level 3 makes one object for each call and asks it in this order, so it may remember one step's
    work for the next (for videos that come later, another object is asked to `extend` alone)::

        space, points = rule.fit(nodes)                             # where nodes are compared
        separation = rule.calibrate(nodes, points, rate).threshold  # unless one is given
        linked = rule.link(nodes, points, separation, radius)

    Nodes begin in the sets `nodes.initial_sets`, the identities of level 2, and a rule joins whole
    sets. It must never put two nodes into one set that are `forbidden`, and should look only at
    nodes that share a position of the Sliding Range, `self.sliding`. What it gives must depend on
    nothing but what it is given.

    Class attributes, for sentences: `compares` says of what the distances are, as in "centroids 0.2
    apart"; `adapts` is True if points lie in a space of their own, where cosine distances are not
    those of features.

    Args:
        settings: of this rule.
        sliding: the Sliding Range.
        saved: a file (.npz) that work in progress may be kept in, so that a killed run goes on;
            whoever calls deletes it in the end.
    """

    compares: ClassVar[str] = "centroids"
    adapts: ClassVar[bool] = False

    def __init__(
        self, settings: Section, sliding: Range = Range(), saved: Path | None = None
    ) -> None:
        self.settings = settings
        self.sliding = sliding
        self.saved = saved

    @abstractmethod
    def fit(self, nodes: Nodes) -> tuple[RuleState, np.ndarray]:
        """Find the space in which nodes are compared.

        Returns:
            What describes the space, as arrays by name ({} for that of the centroids); and the
            nodes' points in it, float32 [n, D] of unit length.
        """

    @abstractmethod
    def calibrate(self, nodes: Nodes, points: np.ndarray, rate: float) -> Calibration:
        """Find a separation for these nodes from the data; 0 links nobody.

        Args:
            nodes: what is linked.
            points: float32 [n, D], as `fit` gave them.
            rate: the wrong links per node that a user accepts (`false_link_rate` in `Settings`).
        """

    @abstractmethod
    def link(
        self, nodes: Nodes, points: np.ndarray, separation: float, radius: float | None
    ) -> LinkingResult:
        """Join what is closer than the separation.

        Args:
            nodes: what is linked.
            points: float32 [n, D], as `fit` gave them.
            separation: a distance on the rule's own scale.
            radius: no set may have a point farther than this from its centroid; None: no bound.
        """

    @abstractmethod
    def extend(
        self, old: LinkRecord, nodes: Nodes, separation: float, radius: float | None
    ) -> tuple[np.ndarray, LinkingResult]:
        """Link the nodes of videos that come later, with one another and with old ones.

        Args:
            old: what was linked before. The forbidden pairs of all are `old.forbidden_with(nodes)`;
                all begin in the sets `old.sets_with(nodes)`, which are never parted.
            nodes: the new ones.
            separation: as for `link`.
            radius: as for `link`.

        Returns:
            The points of the new nodes, in the space of `old.rule_state`; and what is linked of
            all: first the old nodes, then the new ones. Its `rule_state` holds what a further
            `extend` needs beside what `old.rule_state` holds.
        """
