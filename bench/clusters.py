"""Clusters for training without labels, by DBSCAN as published and by CION's own linking rule.

Both cluster real crops.

    python bench/clusters.py --footage PATH

PATH is reid_tracklets.npz; by default it is where footage.py looks for it.

Every crop is an image by itself, as in a benchmark of images: cameras are known, tracklets and
times are not. Printed for each regime and way: precision, recall and F1 over pairs of images, and
recall over those of different cameras; how many clusters and outliers (which are in no pair) there
are; seconds. Linking also stands in forms that were not chosen: with each camera's mean taken off,
and with the images of one camera merged first, by contrast as level 2 does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import footage
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from cion_core.denoise import contrast
from cion_core.denoise.linking.nodes import Nodes
from cion_core.denoise.linking.rules.reciprocal import Reciprocal
from cion_core.finetune.clustering import MIN_SAMPLES, dbscan, link_images
from cion_core.neighbours.arrays import centroids, unit

REGIMES = ("all", "a tenth come again", "two cameras", "cameras 3 and 6", "a quarter of the people")
MERGED = 0.59  # separation of level 2 where merges are right; a stricter one merges hardly any
# Takes features float32 [N, D] and cameras [N]; gives labels [N], -1: none.
Way = Callable[[np.ndarray, np.ndarray], np.ndarray]


def linked(features: np.ndarray, cameras: np.ndarray, centre: bool, merge: bool) -> np.ndarray:
    """`clustering.link_images` in a form that was not chosen."""
    groups = merged(features, cameras) if merge else np.arange(len(features))
    n, video = groups.max() + 1, np.empty(groups.max() + 1, np.int64)
    video[groups] = np.unique(cameras, return_inverse=True)[1]
    centres, alone = centroids(features, groups, n), np.arange(n)
    nodes = Nodes(centres, video, sparse.csr_matrix((n, n), dtype=bool), features, groups, alone)
    rule = Reciprocal(Reciprocal.Settings(centre=centre))
    _, points = rule.fit(nodes)
    place = rule.link(nodes, points, rule.calibrate(nodes, points, 0.0).threshold, None).sets[
        groups
    ]
    return np.where(np.bincount(place)[place] >= MIN_SAMPLES, place, -1)


def merged(features: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    """Images of one camera that level 2's contrast takes for one person, int [N] without gaps."""
    out, count = np.empty(len(features), np.int64), 0
    for camera in np.unique(cameras):
        rows = np.flatnonzero(cameras == camera)
        once = np.zeros(len(rows), np.int64)  # all at the same time, which gives nobody credit
        away = contrast.distances(features[rows], once + 1, once, once)
        np.fill_diagonal(away, 0)
        found = fcluster(
            linkage(squareform(np.maximum(away, 0), checks=False), "average"), MERGED, "distance"
        )
        out[rows] = found - 1 + count
        count += found.max()
    return out


WAYS: dict[str, Way] = {
    **{
        f"DBSCAN, eps {eps}": lambda features, _, eps=eps: dbscan(features, eps)
        for eps in (0.4, 0.5, 0.6, 0.7)
    },
    "DBSCAN, eps 0.6, k1 15, k2 4": lambda features, _: dbscan(features, 0.6, 15, 4),
    "linking": link_images,
    "linking, cameras' means off": partial(linked, centre=True, merge=False),
    "linking, cameras merged first": partial(linked, centre=False, merge=True),
}


def scores(labels: np.ndarray, people: np.ndarray, cameras: np.ndarray) -> dict[str, float]:
    """Over pairs of images. labels, people, cameras int [N]; -1: an outlier."""
    kept = labels >= 0
    label, person, camera = labels[kept], people[kept], cameras[kept]
    told, right, true = footage.pairs(label), footage.pairs(label, person), footage.pairs(people)
    across = right - footage.pairs(label, person, camera)
    return {
        "precision": right / max(told, 1),
        "recall": right / max(true, 1),
        "F1": 2 * right / max(told + true, 1),
        "recall across": across / max(true - footage.pairs(people, cameras), 1),
        "clusters": len(np.unique(label)),
        "outliers": int((~kept).sum()),
    }


def table(everybody: footage.Footage) -> pd.DataFrame:
    """A row for each regime and way."""
    rows = []
    for regime in REGIMES:
        drawn = footage.REGIMES[regime](everybody, 0)
        features, people, cameras = (
            unit(drawn.features),
            drawn.crops.person.to_numpy(),
            drawn.crops.camera.to_numpy(),
        )
        for name, way in WAYS.items():
            start = time.perf_counter()
            labels = way(features, cameras)
            seconds = time.perf_counter() - start
            told = {
                "regime": regime,
                "images": len(people),
                "people": len(np.unique(people)),
                "way": name,
            }
            rows.append(told | scores(labels, people, cameras) | {"seconds": seconds})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--footage", type=Path, default=footage.SHARED / "reid_tracklets.npz")
    file = parser.parse_args().footage
    if not file.is_file():
        print(f"skipped: no real tracklets, {file} is not there")
        return
    print(table(footage.everybody(file)).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
