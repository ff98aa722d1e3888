"""Clusters of images that may each be one person: by DBSCAN, as published, or by CION's own linking
rule.
"""

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
MIN_SAMPLES = (
    4  # images around a core of DBSCAN, itself among them; a linked set of fewer is no cluster
)


def dbscan(features: np.ndarray, eps: float, k1: int = K1, k2: int = K2) -> np.ndarray:
    """DBSCAN (Ester et al. 1996) on the Jaccard distance of k-reciprocal neighbourhoods.

    features float32 [N, D] of unit length. Returns the cluster of each image, int64 [N], from 0
    without a gap; -1: in none.
    """
    graph = sort_graph_by_row_values(
        jaccard(features, eps, k1, k2), copy=False, warn_when_not_sorted=False
    )
    found = DBSCAN(eps=eps, min_samples=MIN_SAMPLES, metric="precomputed").fit_predict(graph)
    return _numbered(found, 2)  # a core may be left alone, whose neighbours went elsewhere


def jaccard(features: np.ndarray, most: float, k1: int, k2: int) -> sparse.csr_matrix:
    """Jaccard distances of k-reciprocal neighbourhoods (Zhong et al. 2017), float32 [N, N], as SpCL
    and Cluster Contrast compute them; only those of at most `most` are there, no image's to itself.

    Memory grows with the pairs that are near, not with N squared: pairs without overlap are at
    distance 1. It is the encoding AS_PROGRAMMED: there exp(-(2 - 2 cos)) over its sum is written as
    a softmax. One thing differs from Zhong et al.: an image counts among its own k1 nearest, so
    that one fewer of the others is looked at.
    """
    index = search.neighbours(features, max(k1, k2) - 1)
    encoded = k_reciprocal.neighbourhoods(features, index[:, :k1], k1, k2)
    parts = [(np.empty(0, np.int64),) * 2 + (np.empty(0, np.float32),)]
    overlap = Jaccard(encoded)
    for i, j, similarity in map(overlap.of, overlap.blocks(slice(0, len(features)))):
        distance = np.maximum(1 - similarity, 0)
        near = distance <= most
        parts.append((i[near], j[near], distance[near]))
    i, j, distance = (np.concatenate(column) for column in zip(*parts, strict=True))
    both = np.concatenate([i, j]), np.concatenate([j, i])
    return sparse.csr_matrix((np.concatenate([distance, distance]), both), (len(features),) * 2)


def linking(features: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    """Average linkage on k-reciprocal neighbourhoods as far as its links are believed; returns what
    `dbscan` does.

    The reciprocal rule that denoising links videos by, with calibrated belief: nobody gives it a
    threshold. Every image is a tracklet of one crop, and a camera takes the part of a video, so
    that belief goes by the links between cameras. Images are linked inside a camera, too, by the
    same neighbourhoods; nothing is known of who was seen together.

    Chosen on real crops (`python bench/clusters.py`; docs/bench.md). Cameras' means are left in:
    without them people are found less often, from camera to camera as well. To merge the images of
    one camera first, as level 2 does inside a video, gains little where there are two cameras and
    loses elsewhere: contrast without frames is a weaker guide.
    """
    n = len(features)
    video, alone = np.unique(cameras, return_inverse=True)[1], np.arange(n)
    nodes = Nodes(features, video, sparse.csr_matrix((n, n), dtype=bool), features, alone, alone)
    rule = Reciprocal(Reciprocal.Settings(centre=False))
    _, points = rule.fit(nodes)
    threshold = rule.calibrate(
        nodes, points, rate=0.0
    ).threshold  # the rate has no say in this rule
    place = rule.link(nodes, points, threshold, radius=None).sets
    return _numbered(place, MIN_SAMPLES)


def _numbered(found: np.ndarray, least: int) -> np.ndarray:
    """Clusters of at least so many images numbered from 0, int64; -1 for all others. found int [N],
    -1: in none.
    """
    _, place, size = np.unique(found, return_inverse=True, return_counts=True)
    of_use = (found >= 0) & (size[place] >= least)
    out = np.full(len(found), -1, np.int64)
    out[of_use] = np.unique(found[of_use], return_inverse=True)[1]
    return out


def silhouette(features: np.ndarray, labels: np.ndarray) -> float:
    """How clearly clusters are apart, -1 to 1: the mean simplified silhouette (Hruschka et al.
    2004) of images in one.

    (b - a) / max(a, b), a the cosine distance to the mean of its own cluster, b to the nearest of
    the others', of which there is one at least. features float32 [N, D] unit; labels int [N] from 0
    without a gap, -1: left out.
    """
    centres = centroids(features, labels, labels.max() + 1)
    rows, total = np.flatnonzero(labels >= 0), 0.0
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        distance, own = 1 - features[part] @ centres.T, (np.arange(len(part)), labels[part])
        a = np.maximum(distance[own], 0)
        distance[own] = np.inf
        b = np.maximum(distance.min(1), 0)
        total += float(((b - a) / np.maximum(np.maximum(a, b), 1e-9)).sum())
    return total / len(rows)
