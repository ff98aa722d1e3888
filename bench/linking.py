"""Rules that link tracklets across videos, side by side on simulated features: `python bench/linking.py`.

Every rule but the last two gets its best threshold chosen with the truth; the last two are the defaults of this
project, which see none. Pairwise over tracklets of different videos.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.cluster import hierarchy
from scipy.sparse.csgraph import connected_components
from simulator import simulate
from sklearn.cluster import DBSCAN, HDBSCAN

from cion_core.audit import scores
from cion_core.denoise import Settings, denoise
from cion_core.denoise.linking import space
from cion_core.denoise.linking.adaptation import residuals, whitener
from cion_core.denoise.linking.rules import RULES
from cion_core.neighbours import k_reciprocal, search
from cion_core.neighbours.arrays import centroids, unit

Rule = Callable[[float], np.ndarray]


def components(distance: np.ndarray) -> Rule:
    return lambda t: connected_components(sparse.csr_matrix(distance < t))[1]


def mutual_nearest(distance: np.ndarray, cameras: np.ndarray) -> Rule:
    """Pairs of tracklets that are each other's nearest of all other cameras', below the threshold."""
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


def dense(similarity: sparse.csr_matrix) -> np.ndarray:
    """Distances, none on the diagonal."""
    distance = np.clip(1 - similarity.toarray(), 0, 1)
    np.fill_diagonal(distance, 0)
    return distance


def dbscan(distance: np.ndarray) -> Rule:
    def rule(t: float) -> np.ndarray:
        label = DBSCAN(eps=t, min_samples=4, metric="precomputed").fit_predict(distance)
        return np.where(label < 0, label.max() + 1 + np.arange(len(label)), label)

    return rule


def hdbscan(distance: np.ndarray) -> Rule:
    """Asks for no threshold."""

    def rule(_: float) -> np.ndarray:
        label = HDBSCAN(min_cluster_size=2, metric="precomputed", copy=True).fit_predict(distance.astype(float))
        return np.where(label < 0, label.max() + 1 + np.arange(len(label)), label)

    return rule


def average(similarity: sparse.csr_matrix) -> Rule:
    """SciPy's average linkage."""
    distance = np.clip(1 - similarity.toarray().astype(float), 0, 1)
    tree = hierarchy.linkage(distance[np.triu_indices(len(distance), 1)], "average")
    return lambda t: hierarchy.fcluster(tree, t, "distance")


def best(rule: Rule, thresholds: Iterable[float], score: Callable[[np.ndarray], dict]) -> dict:
    """The scores at the threshold of highest F1."""
    return max(({"threshold": round(float(t), 3), **score(rule(t))} for t in thresholds), key=lambda row: row["f1"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    world = simulate(people=options.people, seed=options.seed)
    crops = world.crops
    persons = np.where(crops.person < 0, -1 - crops.index, crops.person)  # a distractor is nobody else
    tracklets, groups = np.unique(crops.tracklet, return_inverse=True)
    video = crops.groupby("tracklet").video.first()
    cameras = pd.factorize(video.str.split("/").str[0])[0]
    features = unit(world.features)
    plain = centroids(features, groups, len(tracklets))
    centred = space.centred(plain, pd.factorize(video)[0])
    adapted = unit(centred @ whitener(residuals(features, groups)))
    nothing = sparse.csr_matrix((len(tracklets), len(tracklets)), dtype=bool)
    _, learnt = space.learnt(plain, pd.factorize(video)[0], features, groups, nothing)

    def score(label: np.ndarray) -> dict:
        return scores.against_truth(crops, label[groups], persons)["cross_video"]

    def jaccard(points: np.ndarray, k1: int, k2: int) -> sparse.csr_matrix:
        v = k_reciprocal.neighbourhoods(points, search.neighbours(points, k1), k1, k2)
        i, j, value = (
            np.concatenate(column) for column in zip(*k_reciprocal.jaccard_from(v, len(points)), strict=True)
        )
        half = sparse.csr_matrix((value, (i, j)), v.shape)
        return half + half.T

    def several(points: np.ndarray) -> sparse.csr_matrix:
        return k_reciprocal.similarity(points, search.neighbours(points))

    cosine, share = np.linspace(0.02, 0.6, 30), np.linspace(0.3, 0.9, 25)
    distance = np.maximum(1 - plain @ plain.T, 0)
    rules = {
        "published: components of centroids": (components(distance), cosine),
        "mutual nearest neighbours": (mutual_nearest(distance, cameras), cosine),
        "HDBSCAN, centroids": (hdbscan(distance), [0]),
        "DBSCAN, Jaccard 20/6": (dbscan(dense(jaccard(plain, 20, 6))), share),
        "DBSCAN, Jaccard 20/6, centred": (dbscan(dense(jaccard(centred, 20, 6))), share),
        "HDBSCAN, Jaccard 20/6, centred": (hdbscan(dense(jaccard(centred, 20, 6))), [0]),
        "average linkage, Jaccard 20/6, centred": (average(jaccard(centred, 20, 6)), share),
        "average linkage, Jaccard 15/4, centred": (average(jaccard(centred, 15, 4)), share),
        "average linkage, Jaccard of three sizes, centred": (average(several(centred)), share),
        "... and adapted to the tracklets": (average(several(adapted)), share),
        "... and to the surest links": (average(several(learnt)), share),
    }
    rows = []
    for name, (rule, thresholds) in rules.items():
        start = time.perf_counter()
        rows.append({"rule": name, **best(rule, thresholds, score), "seconds": time.perf_counter() - start})
    for linking in RULES.names():
        start = time.perf_counter()
        result = denoise(crops, world.features, Settings(linking=linking))
        row = scores.against_truth(crops, result.levels[-1].labels, persons)["cross_video"]
        threshold = result.audit["cross_video"]["separation"]
        name = f"denoise() by {linking} linking, no threshold given"
        rows.append({"rule": name, "threshold": threshold, **row, "seconds": time.perf_counter() - start})
    print(f"{len(tracklets)} tracklets, {crops.video.nunique()} videos, {options.people} people, seed {options.seed}")
    print(pd.DataFrame(rows).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
