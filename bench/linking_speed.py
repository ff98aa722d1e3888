"""Linking 20,000 tracklets beside scikit-learn's DBSCAN and HDBSCAN.

python bench/linking_speed.py

All on the same centroids, of bench/simulator.py. DBSCAN gets the eps with the best F1 of several,
chosen knowing the truth, and its time is that of this eps alone; HDBSCAN its defaults, with
clusters from 2; ours the defaults of level 3: once from the centroids at the distance that it would
use where it cannot calibrate, once as the level is run (the space learnt, the threshold calibrated,
the ledger written). DBSCAN with its best eps and ours then take turns: medians.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from simulator import simulate
from sklearn.cluster import DBSCAN, HDBSCAN

from cion_core.audit import scores
from cion_core.denoise import Settings, cannot_link, cross_video
from cion_core.denoise.checks import checked
from cion_core.denoise.linking import sliding_range, space
from cion_core.denoise.linking.rules.reciprocal import WITHOUT_STRANGERS
from cion_core.neighbours import search
from cion_core.neighbours.arrays import centroids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=2720)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    world = simulate(people=options.people, sequences=12, dim=options.dim, seed=options.seed)
    crops = world.crops
    persons = np.where(crops.person < 0, -1 - crops.index, crops.person)
    tracklets, groups = np.unique(crops.tracklet, return_inverse=True)
    video = pd.factorize(crops.groupby("tracklet").video.first())[0]
    table, features = checked(crops, world.features)
    centres = centroids(features, groups, len(tracklets))
    pairs = cannot_link.crop_pairs(table)
    apart = cannot_link.forbidden_pairs(table, table.tracklet.to_numpy(), pairs)
    euclidean = np.sqrt(2 * np.linspace(0.2, 0.5, 7))  # of unit vectors at these cosine distances

    def alone(label: np.ndarray) -> np.ndarray:
        """What scikit-learn calls noise is nobody else."""
        return np.where(label < 0, label.max() + 1 + np.arange(len(label)), label)

    def linked() -> np.ndarray:
        return sliding_range.link(
            space.centre_by_view(centres, video), 1 - WITHOUT_STRANGERS, apart
        ).sets

    def level() -> np.ndarray:
        return cross_video.link_videos(
            table, features, table.tracklet.to_numpy(), Settings(range="all")
        ).labels

    def dbscan(eps: float, metric: str = "euclidean") -> Callable[[], np.ndarray]:
        return lambda: alone(
            DBSCAN(eps=eps, min_samples=2, metric=metric, n_jobs=-1).fit_predict(centres)
        )

    rules: dict[str, Callable[[], np.ndarray]] = {
        **{f"DBSCAN, eps {eps:.2f}": dbscan(eps) for eps in euclidean},
        "DBSCAN by cosine distance, eps 0.40": dbscan(0.4, "cosine"),
        "HDBSCAN": lambda: alone(
            HDBSCAN(min_cluster_size=2, n_jobs=-1, copy=True).fit_predict(centres)
        ),
        f"reciprocal linking of the centroids at {WITHOUT_STRANGERS}": linked,
        "level 3 as it is run": level,
    }
    search.searcher(centres[:2])  # loads FAISS, as scikit-learn is loaded by now
    print(
        f"{len(tracklets)} tracklets, {crops.video.nunique()} videos, D = {options.dim}", flush=True
    )
    rows = []
    for name, rule in rules.items():
        wall, cpu = time.perf_counter(), time.process_time()
        label = rule()
        took = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        of = label if len(label) == len(crops) else label[groups]
        rows.append(
            {"rule": name, **took, **scores.against_truth(crops, of, persons)["cross_video"]}
        )
        print(
            pd.DataFrame(rows[-1:]).round(2).to_string(index=False, header=len(rows) == 1),
            flush=True,
        )
    found = pd.DataFrame(rows).set_index("rule")
    best = found[found.index.str.startswith("DBSCAN, ")].f1.idxmax()
    turns = {name: [] for name in (best, *found.index[-2:])}
    for _ in range(options.repeats):
        for name, times in turns.items():
            wall = time.perf_counter()
            rules[name]()
            times.append(time.perf_counter() - wall)
    took = found.seconds.to_dict() | {
        name: float(np.median(times)) for name, times in turns.items()
    }
    print(
        f"medians of {options.repeats}, in turns: "
        + ", ".join(f"{name} {took[name]:.2f} s" for name in turns)
    )
    for name in found.index[-2:]:
        others = (best, *found.index[-4:-2])
        print(
            f"{name}: "
            + ", ".join(
                f"{took[other] / took[name]:.2f} times as fast as {other}" for other in others
            )
        )


if __name__ == "__main__":
    main()
