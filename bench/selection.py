"""Crops that show little of their person: how well that is told, and what it is worth to linking.

    python bench/selection.py --data data     after `dvc repro` of the demo world

A crop is bad if the renderer's truth says that it shows nobody, another person than most crops of
its tracklet, or its person by less than VISIBLE. The first table says for each reason how well a
small share tells bad crops from others, and how many of those that it would keep out are bad. The
second links draws of the videos: with all crops counted the same, with weights, and with some kept
out. A crop that is kept out is with nobody, so it costs recall. "Strange" is what the embedder
itself has to say: crops that are like no other, neither of their tracklet nor of their video.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from tabulate import tabulate

from cion_core import quality, tables
from cion_core.audit import scores
from cion_core.crops import CropStore
from cion_core.denoise import Settings, cannot_link, checks, denoise
from cion_core.denoise.crop_weights import shares_of
from cion_core.extract.selection import Changes
from cion_core.neighbours.arrays import unit

VISIBLE = 0.7
SMALL = 0.6  # a share below this, and the crop would be kept out
STRANGEST = 0.03  # this share of the crops would be kept out
MIN_CHANGE = 8.0  # grey levels
MIN_CROPS = 3
DRAWN = 0.65  # of the videos, in each draw


def truth_of(crops: pd.DataFrame, truth: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """The person of each crop, int64 [N], below 0 for nobody; and why it is bad, a column each."""
    person = scores.find_people(crops, truth)
    keys = crops[["video", "frame"]].assign(person=person)
    there = truth.drop_duplicates(["video", "frame", "person"])
    visible = keys.merge(there, how="left", on=["video", "frame", "person"]).visible.to_numpy()
    most = pd.Series(person).groupby(crops.tracklet.to_numpy()).transform(lambda own: own.mode()[0])
    nobody = person < 0
    kinds = {
        "nobody": nobody,
        "another person": ~nobody & (most.to_numpy() != person),
        "hardly seen": ~nobody & (visible < VISIBLE),
    }
    return person, pd.DataFrame(kinds)


def likeness(features: np.ndarray, video: np.ndarray) -> np.ndarray:
    """How like each crop is to the one that is most like it in its video, float32 [N]."""
    nearest = np.empty(len(features), np.float32)
    for number in np.unique(video):
        rows = np.flatnonzero(video == number)
        similar = features[rows] @ features[rows].T
        np.fill_diagonal(similar, -1)
        nearest[rows] = similar.max(axis=1)
    return nearest


def nearly_equal(crops: pd.DataFrame, store: CropStore) -> np.ndarray:
    """Which crops the extract stage would call nearly equal, bool [N]."""
    changes = Changes(MIN_CHANGE, MIN_CROPS)
    told = [
        changes.is_nearly_equal(tracklet, store.read(row))
        for row, tracklet in enumerate(crops.tracklet)
    ]
    return np.array(told)


def telling(shares: dict[str, np.ndarray], kinds: pd.DataFrame) -> list[list]:
    """A row for each reason: how well it tells each kind of bad crop, and what it keeps out."""
    bad = kinds.any(axis=1).to_numpy()
    rows = []
    for reason, share in shares.items():
        known = np.nan_to_num(share, nan=1.0)
        areas = [roc_auc_score(~kinds[kind], known) for kind in kinds]
        out = known < SMALL
        rows.append([reason, *areas, int(out.sum()), bad[out].mean() if out.any() else np.nan])
    return rows


def linked(
    crops: pd.DataFrame,
    features: np.ndarray,
    person: np.ndarray,
    kept: np.ndarray,
    weights: np.ndarray,
) -> dict[str, float]:
    """F1 of pairs of tracklets of two videos, and BCubed F1, with some crops kept and all weighed.

    Args:
        crops: N rows.
        features: [N, D].
        person: int64 [N].
        kept: bool [N]; the others are with nobody.
        weights: float [N], how much each counts in a centroid.
    """
    labels = np.full(len(crops), -1, np.int64)
    some = crops.assign(quality=weights)[kept].reset_index(drop=True)
    labels[kept] = denoise(some, features[kept], Settings()).levels[-1].labels
    found = scores.against_truth(crops, labels, person)
    return {"pairs": found["cross_video"]["f1"], "bcubed": found["bcubed"]["f1"]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--draws", type=int, default=6)
    given = parser.parse_args()
    root = given.data
    crops = tables.read(tables.Crops, root / "tracklets/crops.parquet")
    features = np.load(root / "embeddings/features.npy")
    person, kinds = truth_of(crops, tables.read(tables.Truth, root / "raw/truth.parquet"))
    bad = kinds.any(axis=1).to_numpy()

    # 1. What is told of each crop.
    plain = checks.checked(crops.drop(columns="quality", errors="ignore"), features)[0]
    shares = shares_of(plain, cannot_link.crop_pairs(plain))
    worth = quality.product(shares)
    shares["all of them: quality"] = crops.quality.to_numpy() if "quality" in crops else worth
    shares["strange"] = likeness(unit(features.astype(np.float32)), pd.factorize(crops.video)[0])
    header = ["share", *(f"AUC, {kind}" for kind in kinds), f"below {SMALL}", "bad of these"]
    print(f"{len(crops)} crops, {crops.tracklet.nunique()} tracklets, {bad.mean():.1%} bad\n")
    print(tabulate(telling(shares, kinds), header, floatfmt=".2f", tablefmt="github"))

    # 2. What it is worth.
    worth = shares["all of them: quality"]
    strange = shares["strange"] < np.quantile(shares["strange"], STRANGEST)
    equal = nearly_equal(crops, CropStore(root / "tracklets/crops", crops))
    everything, same = np.ones(len(crops), bool), np.ones(len(crops))
    ways = {
        "all count the same": (everything, same),
        "weighed by quality": (everything, worth),
        "… quality below 0.3 out": (worth >= 0.3, worth),
        f"… height below {SMALL} of the usual out": (
            np.nan_to_num(shares["tiny"], nan=1) >= SMALL,
            worth,
        ),
        "… cut off by the edge out": (np.nan_to_num(shares["cut off"], nan=1) >= SMALL, worth),
        "… nearly equal out": (~equal, worth),
        "… the strangest out": (~strange, worth),
    }
    videos = np.unique(crops.video)
    found = {name: [] for name in ways}
    for draw in range(given.draws):
        drawn = np.random.default_rng(draw).choice(
            videos, round(DRAWN * len(videos)), replace=False
        )
        rows = np.flatnonzero(crops.video.isin(drawn))
        there = crops.iloc[rows].reset_index(drop=True)
        for name, (kept, weights) in ways.items():
            found[name].append(
                linked(there, features[rows], person[rows], kept[rows], weights[rows])
            )
    first = pd.DataFrame(found["all count the same"])
    rows = []
    for name, (kept, _) in ways.items():
        gain = 100 * (pd.DataFrame(found[name]) - first)
        told = [f"{gain[score].mean():+.1f} ± {gain[score].std():.1f}" for score in gain]
        out = bad[~kept].mean() if not kept.all() else np.nan
        rows.append([name, int((~kept).sum()), out, bad[kept].mean(), *told])
    mean = ", ".join(f"{score} {100 * first[score].mean():.1f}" for score in first)
    header = ["crops", "kept out", "bad of these", "bad of the rest", "F1 of pairs", "BCubed F1"]
    print(
        f"\nAll count the same: {mean}. The others beside it, over {given.draws} draws of the "
        "videos:\n"
    )
    print(tabulate(rows, header, floatfmt=".3f", tablefmt="github"))


if __name__ == "__main__":
    main()
