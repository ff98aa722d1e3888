"""Noise of a labelling: samples outside their identity's sphere, and spheres that are too close."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from cion_core.denoise.settings import Thresholds
from cion_core.neighbours.arrays import centroids, close_pairs, distances_to_own
from cion_core.neighbours.rows import Rows


@dataclass(frozen=True)
class Noise:
    """What in a labelling violates consistency and discrimination.

    Args:
        crops: how many have an identity.
        identities: how many there are.
        outside: crops farther than the radius from the others (across videos: from the centroid);
            None: there is no radius.
        close_pairs: pairs of identities that may be one and are closer than the separation; None:
            there is no separation.
        mean_radius: of all identities.
        largest_radius: of all identities.
    """

    crops: int
    identities: int
    outside: int | None
    close_pairs: int | None
    mean_radius: float
    largest_radius: float

    def __add__(self, other: Noise) -> Noise:
        """Of both labellings, which share no identity; pairs between them are not compared."""
        identities = self.identities + other.identities
        own_sum = self.mean_radius * self.identities
        other_sum = other.mean_radius * other.identities
        return Noise(
            crops=self.crops + other.crops,
            identities=identities,
            outside=_add(self.outside, other.outside),
            close_pairs=_add(self.close_pairs, other.close_pairs),
            mean_radius=(own_sum + other_sum) / max(identities, 1),
            largest_radius=max(self.largest_radius, other.largest_radius),
        )


def _add(one: int | None, other: int | None) -> int | None:
    """The sum of what is known."""
    known = [count for count in (one, other) if count is not None]
    return sum(known) if known else None


class Tally:
    """The noise of a labelling, counted piece by piece.

    An identity lies in one piece, such as a video. Identities of different pieces are not compared.
    Use it so: `add` every piece, or where the distances are known already, call `spheres` with them
    and add up `close`; then ask for `measured`.

    Attributes:
        limit: the thresholds.
        crops: how many were counted.
        outside: how many of them lie farther than the radius.
        close: pairs of identities that are closer than the separation and may be one.
    """

    def __init__(self, limit: Thresholds) -> None:
        self.limit = limit
        self.crops = 0
        self.outside = 0
        self.close = 0
        self.identities = [np.empty(0, np.int64)]
        self.radii = [np.empty(0, np.float32)]

    def spheres(self, labels: np.ndarray, distances: np.ndarray) -> None:
        """Count samples.

        Args:
            labels: int [N], the identity of each; none is -1.
            distances: float32 [N], how far each lies from the others, or from the centroid.
        """
        identities, groups = np.unique(labels, return_inverse=True)
        radii = np.zeros(len(identities), np.float32)
        np.maximum.at(radii, groups, distances)
        self.identities.append(identities)
        self.radii.append(radii)
        self.crops += len(labels)
        if self.limit.radius is not None:
            is_outside = distances > self.limit.radius
            self.outside += int(is_outside.sum())

    def add(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        forbidden: np.ndarray | sparse.csr_matrix | None,
    ) -> None:
        """Count the samples of a piece, and its pairs of identities.

        Args:
            features: float32 [N, D], unit length.
            labels: int64 [N], -1 is left out.
            forbidden: as for `measure`.
        """
        has_identity = labels >= 0
        own_labels = labels[has_identity]
        identities, groups = np.unique(own_labels, return_inverse=True)
        member = np.full(len(labels), -1)
        member[has_identity] = groups
        centres = centroids(features, member, len(identities))
        distances = distances_to_own(features, member, centres)
        self.spheres(own_labels, distances[has_identity])
        if self.limit.separation is None:
            return
        for i, j, _ in close_pairs(centres, self.limit.separation):
            forbidden_pairs = 0 if forbidden is None else int(forbidden[i, j].sum())
            self.close += len(i) - forbidden_pairs

    def measured(self) -> Noise:
        """The noise of everything that was added."""
        identities = np.concatenate(self.identities)
        radii = np.concatenate(self.radii)
        if not len(identities):
            return Noise(0, 0, None, None, 0.0, 0.0)
        # By number, so that the sum does not depend on the order of the pieces.
        by_number = np.argsort(identities)
        ordered = radii[by_number]
        return Noise(
            crops=self.crops,
            identities=len(identities),
            outside=None if self.limit.radius is None else self.outside,
            close_pairs=None if self.limit.separation is None else self.close,
            mean_radius=float(ordered.mean()),
            largest_radius=float(radii.max()),
        )


def measure(
    features: np.ndarray | Rows,
    labels: np.ndarray,
    limit: Thresholds,
    forbidden: np.ndarray | sparse.csr_matrix | None = None,
) -> Noise:
    """Measure the noise of a labelling.

    Args:
        features: float32 [N, D], unit length.
        labels: int64 [N], -1 is left out.
        limit: the thresholds.
        forbidden: bool [n, n] over the sorted identities: pairs that may never be one (close, but
            no noise).
    """
    tally = Tally(limit)
    tally.add(features, labels, forbidden)
    return tally.measured()
