"""The space in which reciprocal linking compares centroids.

What belongs to a video is taken off, and what varies within people is scaled down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from cion_core.denoise.linking import adaptation, agglomeration
from cion_core.denoise.linking.belief import LEAST_RELIABLE, RELIABLE, assess_links
from cion_core.denoise.linking.nodes import RuleState
from cion_core.denoise.linking.strangers import Strangers, measure_strangers
from cion_core.neighbours import search
from cion_core.neighbours.arrays import group_sums, unit
from cion_core.neighbours.rows import Rows
from cion_core.neighbours.similarity import similarity

# Rounds of linking to learn from.
ROUNDS = 2
# The power to which what varies inside tracklets is scaled down: half of whitening.
INSIDE = 0.25
# The same for what varies between linked ones, where the share RELIABLE of the links is right.
ACROSS = 0.5
# Links must give this many times as many samples as there are directions to be believed half.
SAMPLES_A_DIRECTION = 10
# Nodes that are learnt from.
LEARN_FROM = 10_000
# How much the global mean is trusted against a view's own, in nodes.
SHRINK = 5.0


@dataclass(frozen=True)
class LinkingSpace:
    """How centroids are brought into the space.

    Args:
        mean: float32 [D], of all centroids that were learnt from; None: videos' means stay.
        maps: float32 [D, D] each, applied one after another; after each, rows get length 1.
    """

    mean: np.ndarray | None
    maps: tuple[np.ndarray, ...]

    def project(self, centroids: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Bring centroids into this space.

        Args:
            centroids: float32 [n, D], of the nodes of whole views.
            views: int [n], from 0.

        Returns:
            float32 [n, D], unit length.
        """
        points = centroids
        if self.mean is not None:
            points = centre_by_view(centroids, views, self.mean)
        for matrix in self.maps:
            points = unit(points @ matrix)
        return points

    @property
    def before_links(self) -> LinkingSpace:
        """The space as it was before any link was learnt from."""
        return LinkingSpace(self.mean, self.maps[:1])

    def arrays(self) -> RuleState:
        """The space as arrays by name."""
        state = {"maps": np.array(self.maps)}
        if self.mean is not None:
            state["mean"] = self.mean
        return state

    @classmethod
    def of_arrays(cls, state: RuleState) -> LinkingSpace:
        """What `arrays` gave."""
        return cls(state.get("mean"), tuple(state["maps"]))


def centre_by_view(
    centroids: np.ndarray, views: np.ndarray, mean: np.ndarray | None = None
) -> np.ndarray:
    """Take off each view's mean, which holds its background and colours.

    The mean is shrunk towards the global one as if SHRINK further nodes sat there: the mean of few
    nodes is those nodes, and without the global mean nothing would be left of them.

    Args:
        centroids: float32 [n, D].
        views: int [n], from 0.
        mean: float32 [D], the global mean; None: that of `centroids`.

    Returns:
        float32 [n, D], unit length.
    """
    if not len(centroids):
        return centroids
    if mean is None:
        mean = centroids.mean(0)
    count = np.bincount(views)
    total = group_sums(centroids, views, len(count))
    shrunk_count = (count + SHRINK)[:, None]
    view_mean = (total + SHRINK * mean) / shrunk_count
    return unit(centroids - view_mean[views])


def learn_linking_space(
    centroids: np.ndarray,
    views: np.ndarray,
    features: np.ndarray | Rows,
    groups: np.ndarray,
    forbidden: sparse.csr_matrix,
    initial_sets: np.ndarray,
    subtract_view_mean: bool = True,
    size: int | None = None,
) -> tuple[LinkingSpace, np.ndarray]:
    """Learn a space from the footage.

    A space learnt from wrong links finds them right. So links are learnt from only as far as they
    are believed, and strangers are measured in the space before that, in which no link has a part.

    Args:
        centroids: float32 [n, D], the centroids of the nodes.
        views: int [n], from 0.
        features: float32 [N, D], of all crops.
        groups: int [N], the node of each crop; -1: none.
        forbidden: bool [n, n], who can never be one.
        initial_sets: int [n], the lowest node of the set that each begins in.
        subtract_view_mean: take off each view's mean.
        size: the Sliding Range; links are learnt from its first position, or LEARN_FROM points of
            it.

    Returns:
        The space, and `centroids` in it, float32 [n, D] of unit length.
    """
    # Step 1: what varies inside tracklets.
    mean = centroids.mean(0) if subtract_view_mean and len(centroids) else None
    residuals = adaptation.group_residuals(features, groups)
    inside = adaptation.whitener(residuals, INSIDE)
    if inside is None:
        inside = np.eye(centroids.shape[1], dtype=np.float32)
    space = LinkingSpace(mean, (inside,))
    points = space.project(centroids, views)

    # Step 2: how alike strangers are there.
    first = slice(min(size or LEARN_FROM, LEARN_FROM))
    strangers = measure_strangers(points[first], views[first])
    if strangers is None:
        return space, points

    # Step 3: what varies inside the surest links, a few times over.
    for _ in range(ROUNDS):
        across = _map_across_videos(
            points[first], views[first], forbidden[first, first], initial_sets[first], strangers
        )
        if across is None:
            break
        space = replace(space, maps=(*space.maps, across))
        points = unit(points @ across)
    return space, points


def _map_across_videos(
    points: np.ndarray,
    views: np.ndarray,
    forbidden: sparse.csr_matrix,
    initial_sets: np.ndarray,
    strangers: Strangers,
) -> np.ndarray | None:
    """Learn what varies inside the surest links.

    Returns:
        A map that scales it down, float32 [D, D]; None: too few links are right.
    """
    nearest = search.neighbours(points, forbidden=forbidden)
    similar = similarity(points, nearest)
    merges, belief = assess_links(similar, views, forbidden, initial_sets, strangers)
    least = belief.least_worthwhile(RELIABLE)
    power = np.interp(belief.share(least), (LEAST_RELIABLE, RELIABLE), (0, ACROSS))
    if not power > 0:
        return None
    sets = agglomeration.apply_merges(initial_sets, merges, least)
    groups = np.unique(sets, return_inverse=True)[1]
    residuals = adaptation.group_residuals(points, groups)
    return adaptation.whitener(residuals, float(power), SAMPLES_A_DIRECTION)
