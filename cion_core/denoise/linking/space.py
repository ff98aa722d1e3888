"""The space in which reciprocal linking compares centroids.

What belongs to a video is taken off, and what varies within people is scaled down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from cion_core.denoise.linking import adaptation, agglomeration
from cion_core.denoise.linking.belief import LEAST_SURE, SURE, assess_links
from cion_core.denoise.linking.nodes import Kept
from cion_core.denoise.linking.strangers import Strangers, measure_strangers
from cion_core.neighbours import search
from cion_core.neighbours.arrays import group_sums, unit
from cion_core.neighbours.rows import Rows
from cion_core.neighbours.similarity import similarity

# Rounds of linking to learn from.
ROUNDS = 2
# The power to which what varies inside tracklets is scaled down: half of whitening.
INSIDE = 0.25
# The same for what varies between linked ones, where they are surely right.
ACROSS = 0.5
# Links must give this many times as many samples as there are directions to be believed half.
SAMPLES_A_DIRECTION = 10
# Nodes that are learnt from.
LEARN_FROM = 10_000
# How much the global mean is trusted against a video's own, in nodes.
SHRINK = 5.0


@dataclass(frozen=True)
class Space:
    """How centroids are brought into the space.

    Args:
        mean: float32 [D], of all centroids that were learnt from; None: videos' means stay.
        maps: float32 [D, D] each, applied one after another; after each, rows get length 1.
    """

    mean: np.ndarray | None
    maps: tuple[np.ndarray, ...]

    def project(self, centres: np.ndarray, videos: np.ndarray) -> np.ndarray:
        """Bring centroids into this space.

        Args:
            centres: float32 [n, D], of the nodes of whole videos.
            videos: int [n], from 0.

        Returns:
            float32 [n, D], unit length.
        """
        points = centres
        if self.mean is not None:
            points = centre_by_video(centres, videos, self.mean)
        for matrix in self.maps:
            points = unit(points @ matrix)
        return points

    @property
    def before_links(self) -> Space:
        """The space as it was before any link was learnt from."""
        return Space(self.mean, self.maps[:1])

    def arrays(self) -> Kept:
        """Itself as arrays by name, to be kept."""
        kept = {"maps": np.array(self.maps)}
        if self.mean is not None:
            kept["mean"] = self.mean
        return kept

    @classmethod
    def of_arrays(cls, kept: Kept) -> Space:
        """What `arrays` gave."""
        return cls(kept.get("mean"), tuple(kept["maps"]))


def centre_by_video(
    centres: np.ndarray, videos: np.ndarray, mean: np.ndarray | None = None
) -> np.ndarray:
    """Take off each video's mean, which holds its background and colours.

    The mean is shrunk towards the global one as if SHRINK further nodes sat there: the mean of few
    nodes is those nodes, and without the global mean nothing would be left of them.

    Args:
        centres: float32 [n, D].
        videos: int [n], from 0.
        mean: float32 [D], the global mean; None: that of `centres`.

    Returns:
        float32 [n, D], unit length.
    """
    if not len(centres):
        return centres
    if mean is None:
        mean = centres.mean(0)
    count = np.bincount(videos)
    total = group_sums(centres, videos, len(count))
    video_mean = (total + SHRINK * mean) / (count + SHRINK)[:, None]
    return unit(centres - video_mean[videos])


def learn_space(
    centres: np.ndarray,
    videos: np.ndarray,
    features: np.ndarray | Rows,
    groups: np.ndarray,
    forbidden: sparse.csr_matrix,
    start: np.ndarray,
    centre: bool = True,
    size: int | None = None,
) -> tuple[Space, np.ndarray]:
    """Learn a space from the footage.

    A space learnt from wrong links finds them right. So links are learnt from only as far as they
    are believed, and strangers are measured in the space before that, in which no link has a part.

    Args:
        centres: float32 [n, D], the centroids of the nodes.
        videos: int [n], from 0.
        features: float32 [N, D], of all crops.
        groups: int [N], the node of each crop; -1: none.
        forbidden: bool [n, n], who can never be one.
        start: int [n], the lowest node of the set that each begins in.
        centre: take off each video's mean.
        size: the Sliding Range; links are learnt from its first position, or LEARN_FROM points of
            it.

    Returns:
        The space, and `centres` in it, float32 [n, D] of unit length.
    """
    # Step 1: what varies inside tracklets.
    mean = centres.mean(0) if centre and len(centres) else None
    inside = adaptation.whitener(adaptation.group_residuals(features, groups), INSIDE)
    if inside is None:
        inside = np.eye(centres.shape[1], dtype=np.float32)
    space = Space(mean, (inside,))
    points = space.project(centres, videos)

    # Step 2: how alike strangers are there.
    first = slice(min(size or LEARN_FROM, LEARN_FROM))
    strangers = measure_strangers(points[first], videos[first])
    if strangers is None:
        return space, points

    # Step 3: what varies inside the surest links, a few times over.
    for _ in range(ROUNDS):
        across = _map_across_videos(
            points[first], videos[first], forbidden[first, first], start[first], strangers
        )
        if across is None:
            break
        space = replace(space, maps=(*space.maps, across))
        points = unit(points @ across)
    return space, points


def _map_across_videos(
    points: np.ndarray,
    videos: np.ndarray,
    forbidden: sparse.csr_matrix,
    start: np.ndarray,
    strangers: Strangers,
) -> np.ndarray | None:
    """Learn what varies inside the surest links.

    Returns:
        A map that scales it down, float32 [D, D]; None: no link is sure.
    """
    nearest = search.neighbours(points, forbidden=forbidden)
    similar = similarity(points, nearest)
    merges, belief = assess_links(similar, videos, forbidden, start, strangers)
    level = belief.best(SURE)
    power = np.interp(belief.share(level), (LEAST_SURE, SURE), (0, ACROSS))
    if not power > 0:
        return None
    label = agglomeration.apply_merges(start, merges, level)
    groups = np.unique(label, return_inverse=True)[1]
    residuals = adaptation.group_residuals(points, groups)
    return adaptation.whitener(residuals, float(power), SAMPLES_A_DIRECTION)
