"""Clusters of images that may each be one person: by DBSCAN, or by CION's own linking rule."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.cluster import DBSCAN
from sklearn.neighbors import sort_graph_by_row_values

from cion_core.denoise.linking.nodes import Nodes
from cion_core.denoise.linking.rules.reciprocal import Reciprocal
from cion_core.neighbours import k_reciprocal, search
from cion_core.neighbours.arrays import BLOCK, centroids
from cion_core.neighbours.overlap import Jaccard

K1, K2 = 30, 6  # of the k-reciprocal encoding, as Cluster Contrast has them
# DBSCAN: the least images around a core, the core among them. Linking: the least images of a
# cluster.
MIN_SAMPLES = 4


def dbscan(features: np.ndarray, eps: float, k1: int = K1, k2: int = K2) -> np.ndarray:
    """DBSCAN (Ester et al. 1996) on the Jaccard distance of k-reciprocal neighbourhoods.

    Args:
        features: float32 [N, D], of unit length.
        eps: the largest distance of two neighbours.
        k1, k2: of the k-reciprocal encoding.

    Returns:
        The cluster of each image, int64 [N], from 0 without a gap; -1: in none.
    """
    distances = jaccard_distances(features, eps, k1, k2)
    graph = sort_graph_by_row_values(distances, copy=False, warn_when_not_sorted=False)
    found = DBSCAN(eps=eps, min_samples=MIN_SAMPLES, metric="precomputed").fit_predict(graph)
    # A core may be left alone, where its neighbours went to another cluster.
    return _renumber(found, 2)


def jaccard_distances(features: np.ndarray, most: float, k1: int, k2: int) -> sparse.csr_matrix:
    """Jaccard distances of k-reciprocal neighbourhoods (Zhong et al. 2017).

    They are as SpCL and Cluster Contrast compute them. Memory grows with the pairs that are near,
    not with N squared: pairs without overlap are at distance 1. The encoding is
    `k_reciprocal.AS_PROGRAMMED`, in which exp(-(2 - 2 cos)) over its sum is written as a softmax.
    One thing differs from Zhong et al.: an image counts among its own k1 nearest, so that one fewer
    of the others is looked at.

    Args:
        features: float32 [N, D], of unit length.
        most: the largest distance that is stored.
        k1, k2: of the encoding.

    Returns:
        float32 [N, N], without an image's distance to itself.
    """
    index = search.neighbours(features, max(k1, k2) - 1)
    encoded = k_reciprocal.neighbourhoods(features, index[:, :k1], k1, k2)
    # Pairs i < j that are near, block by block; an empty one first, as there may be none.
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    overlap = Jaccard(encoded)
    for block in overlap.blocks(slice(0, len(features))):
        i, j, similarity = overlap.of(block)
        distance = np.maximum(1 - similarity, 0)
        near = distance <= most
        parts.append((i[near], j[near], distance[near]))
    i, j, distance = (np.concatenate(column) for column in zip(*parts, strict=True))

    # Each pair in both directions.
    rows, columns = np.concatenate([i, j]), np.concatenate([j, i])
    distances = np.concatenate([distance, distance])
    return sparse.csr_matrix((distances, (rows, columns)), (len(features), len(features)))


def link_images(features: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    """Clusters by the reciprocal rule that denoising links videos by; no threshold is given.

    It is average linkage on k-reciprocal neighbourhoods as far as its links are believed. Every
    image is a tracklet of one crop, and a camera takes the part of a video, so that belief goes by
    the links between cameras. Images are linked inside a camera, too, by the same neighbourhoods;
    nothing is known of who was seen together.

    Chosen on real crops (`python bench/clusters.py`; docs/bench.md). Cameras' means are left in:
    without them people are found less often, from camera to camera as well. To merge the images of
    one camera first, as level 2 does inside a video, gains little where there are two cameras and
    loses elsewhere: contrast without frames is a weaker guide.

    Args:
        features: float32 [N, D], of unit length.
        cameras: int64 [N].

    Returns:
        The cluster of each image, int64 [N], from 0 without a gap; -1: in none.
    """
    count = len(features)
    _, video = np.unique(cameras, return_inverse=True)
    own_tracklet = np.arange(count)
    seen_together = sparse.csr_matrix((count, count), dtype=bool)
    nodes = Nodes(features, video, seen_together, features, own_tracklet, own_tracklet)

    rule = Reciprocal(Reciprocal.Settings(centre=False))
    _, points = rule.fit(nodes)
    calibration = rule.calibrate(nodes, points, rate=0.0)  # this rule makes no use of the rate
    linked = rule.link(nodes, points, calibration.threshold, radius=None)
    return _renumber(linked.sets, MIN_SAMPLES)


def _renumber(found: np.ndarray, least: int) -> np.ndarray:
    """Number clusters of at least `least` images from 0.

    Example: with least = 2, clusters 7 7 3 9 9 -1 become 0 0 -1 1 1 -1.

    Args:
        found: int [N], the cluster of each image; -1: in none.
        least: images of a cluster that counts.

    Returns:
        int64 [N]; -1: in none that counts.
    """
    _, cluster, size = np.unique(found, return_inverse=True, return_counts=True)
    counts = (found >= 0) & (size[cluster] >= least)
    numbers = np.full(len(found), -1, np.int64)
    _, numbers[counts] = np.unique(found[counts], return_inverse=True)
    return numbers


def silhouette(features: np.ndarray, labels: np.ndarray) -> float:
    """How clearly clusters are separated: the simplified silhouette (Hruschka et al. 2004).

    It is the mean, over images in a cluster, of (b - a) / max(a, b). a is the cosine distance to
    the mean of its own cluster, b that to the nearest of the others'.

    Args:
        features: float32 [N, D], of unit length.
        labels: int [N], the clusters, at least two, from 0 without a gap; images of -1 are left
            out.

    Returns:
        -1 to 1.
    """
    centres = centroids(features, labels, labels.max() + 1)
    rows = np.flatnonzero(labels >= 0)
    total = 0.0
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        distance = 1 - features[part] @ centres.T
        own = np.arange(len(part)), labels[part]
        inner = np.maximum(distance[own], 0)  # a
        distance[own] = np.inf
        outer = np.maximum(distance.min(1), 0)  # b
        larger = np.maximum(inner, outer)
        total += float(((outer - inner) / np.maximum(larger, 1e-9)).sum())
    return total / len(rows)
