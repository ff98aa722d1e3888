"""Rules that link tracklets across videos: other people's, and this project's step by step.

Every rule is a function of its threshold and gives a label to each tracklet, int [n].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.cluster import hierarchy
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import DBSCAN, HDBSCAN

from cion_core.denoise.linking import space
from cion_core.denoise.linking.adaptation import group_residuals, whitener
from cion_core.neighbours import k_reciprocal, search
from cion_core.neighbours.arrays import centroids, unit
from cion_core.neighbours.overlap import Jaccard
from cion_core.neighbours.similarity import similarity

Rule = Callable[[float], np.ndarray]
COSINE, SHARE = np.linspace(0.02, 0.6, 30), np.linspace(0.1, 0.9, 33)
SIZES = (2, 3, 4, 5, 6)  # the knob of HDBSCAN: tracklets of the smallest cluster
PARTITIONS = (1, 2, 3, 4)  # that of FINCH: how often it goes on


@dataclass(frozen=True)
class Tracklets:
    """Crops: features float32 [N, D], unit, groups int [N]. Tracklets: videos, cameras int [n]."""

    features: np.ndarray
    groups: np.ndarray
    videos: np.ndarray
    cameras: np.ndarray

    @cached_property
    def plain(self) -> np.ndarray:
        """Centroids, float32 [n, D]."""
        return centroids(self.features, self.groups, len(self.videos))

    @cached_property
    def centred(self) -> np.ndarray:
        """Less their video's mean."""
        return space.centre_by_view(self.plain, self.videos)

    @cached_property
    def adapted(self) -> np.ndarray:
        """And adapted to what varies inside tracklets."""
        return unit(self.centred @ whitener(group_residuals(self.features, self.groups)))

    @cached_property
    def learnt(self) -> np.ndarray:
        """And to what varies inside the surest links."""
        nothing = sparse.csr_matrix((len(self.videos), len(self.videos)), dtype=bool)
        alone = np.arange(len(self.videos))
        return space.learn_linking_space(
            self.plain, self.videos, self.features, self.groups, nothing, alone
        )[1]


def peers(tracklets: Tracklets) -> Iterator[tuple[str, Rule, Sequence[float]]]:
    """Each rule's name, itself, and the thresholds to choose from; made one after another."""
    plain, centred = tracklets.plain, tracklets.centred
    distance = np.maximum(1 - plain @ plain.T, 0)
    yield "published: components of centroids", components(distance), COSINE
    yield "mutual nearest neighbours", mutual_nearest(distance, tracklets.cameras), COSINE
    yield "FINCH, centroids", finch(plain), PARTITIONS
    yield "FINCH, centred", finch(centred), PARTITIONS
    yield "HDBSCAN, centroids", hdbscan(distance), SIZES
    yield "DBSCAN, Jaccard 20/6", dbscan(dense(jaccard(plain, 20, 6))), SHARE
    wide = jaccard(centred, 20, 6)
    yield "DBSCAN, Jaccard 20/6, centred", dbscan(dense(wide)), SHARE
    yield "HDBSCAN, Jaccard 20/6, centred", hdbscan(dense(wide)), SIZES
    yield "average linkage, Jaccard 20/6, centred", average(wide), SHARE
    yield "average linkage, Jaccard 15/4, centred", average(jaccard(centred, 15, 4)), SHARE
    yield "average linkage, Jaccard of three sizes, centred", average(several(centred)), SHARE
    yield "... and adapted to the tracklets", average(several(tracklets.adapted)), SHARE
    yield "... and to the surest links", average(several(tracklets.learnt)), SHARE


def jaccard(points: np.ndarray, k1: int, k2: int) -> sparse.csr_matrix:
    """Similarity of k-reciprocal neighbourhoods of one size, [n, n]."""
    k1, k2 = min(k1, len(points) - 1), min(k2, len(points))
    v = k_reciprocal.neighbourhoods(points, search.neighbours(points, k1), k1, k2)
    overlap = Jaccard(v)
    found = map(overlap.of, overlap.blocks(slice(0, len(points))))
    i, j, value = (np.concatenate(column) for column in zip(*found, strict=True))
    half = sparse.csr_matrix((value, (i, j)), v.shape)
    return half + half.T


def several(points: np.ndarray) -> sparse.csr_matrix:
    """Similarity of neighbourhoods of several sizes, [n, n]."""
    return similarity(points, search.neighbours(points))


def dense(similarity: sparse.csr_matrix) -> np.ndarray:
    """Distances, none on the diagonal."""
    distance = np.clip(1 - similarity.toarray(), 0, 1)
    np.fill_diagonal(distance, 0)
    return distance


def components(distance: np.ndarray) -> Rule:
    """All that is nearer than the threshold, and what hangs together by it."""
    return lambda t: connected_components(sparse.csr_matrix(distance < t))[1]


def mutual_nearest(distance: np.ndarray, cameras: np.ndarray) -> Rule:
    """Pairs of tracklets below the threshold that are mutual nearest neighbours.

    Nearest counts over all tracklets of other cameras.
    """
    rows = np.arange(len(distance))
    closest = np.where(cameras[:, None] == cameras, np.inf, distance).argmin(1)
    mutual = (closest[closest] == rows) & (closest > rows)
    both = np.stack([rows[mutual], closest[mutual]])

    def rule(t: float) -> np.ndarray:
        i, j = both[:, distance[tuple(both)] < t]
        label = rows.copy()
        label[j] = i
        return label

    return rule


def finch(points: np.ndarray) -> Rule:
    """Clusters of first neighbours (Sarfraz et al., CVPR 2019).

    Whoever is another's nearest, by cosine, is in one cluster with it, and so are those who share a
    nearest. The same is then done with the clusters' means, again and again; the threshold is the
    number of the partition.
    """

    def rule(partition: float) -> np.ndarray:
        label = np.arange(len(points))
        for _ in range(int(partition)):
            means = centroids(points, label, label.max() + 1)
            if len(means) < 2:
                break
            similarity = means @ means.T
            np.fill_diagonal(similarity, -np.inf)
            nearest = sparse.csr_matrix(
                (np.ones(len(means)), (np.arange(len(means)), similarity.argmax(1)))
            )
            nearest.resize(len(means), len(means))
            # Two with the same nearest are connected through it.
            label = connected_components(nearest, directed=False)[1][label]
        return label

    return rule


def dbscan(distance: np.ndarray) -> Rule:
    """Clusters around points with three others within the threshold."""
    return lambda t: _alone(
        DBSCAN(eps=t, min_samples=4, metric="precomputed").fit_predict(distance)
    )


def hdbscan(distance: np.ndarray) -> Rule:
    """Density clusters of any density.

    It knows no distance, so the threshold is the size of the smallest cluster.
    """

    def rule(size: float) -> np.ndarray:
        return _alone(
            HDBSCAN(min_cluster_size=size, metric="precomputed", copy=True).fit_predict(
                distance.astype(float)
            )
        )

    return rule


def average(similarity: sparse.csr_matrix) -> Rule:
    """SciPy's average linkage."""
    distance = np.clip(1 - similarity.toarray().astype(float), 0, 1)
    tree = hierarchy.linkage(distance[np.triu_indices(len(distance), 1)], "average")
    return lambda t: hierarchy.fcluster(tree, t, "distance")


def _alone(label: np.ndarray) -> np.ndarray:
    """A label of its own for whatever has none (-1)."""
    return np.where(label < 0, label.max() + 1 + np.arange(len(label)), label)
