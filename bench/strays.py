"""Boxes that show no person: what levels 1 and 2 do with them, and what they are told by.

    python bench/strays.py --data data     after `dvc repro` of the demo world

Boxes in which nobody stands are cut from the rendered films and put among the crops: strays, each
in the place of a crop of somebody's tracklet, and false tracklets, which stay in one place and are
nobody's from end to end. The crops are embedded again and go through levels 1 and 2. The first
table says where each kind of crop ends; the second how well numbers of the embedder's own tell them
from good crops (AUC: 0.5 is a guess).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from selection import likeness, truth_of
from sklearn.metrics import roc_auc_score
from tabulate import tabulate

from cion_core import params, tables
from cion_core.crops import CropStore, CropWriter
from cion_core.denoise import Settings, denoise, outliers
from cion_core.denoise.cannot_link import iou
from cion_core.embed import stage as embedding
from cion_core.embed.settings import Embed
from cion_core.ingest.video import Frames
from cion_core.neighbours import arrays
from cion_core.runtime import Runtime

STRAYS = 0.05  # of the crops
FALSE = 0.15  # false tracklets, as a share of the tracklets
EMPTY = 0.1  # IoU with a person below which a box shows nobody
TRIES = 200  # places that are tried for one box
SHAKE = 2  # pixels by which the boxes of a false tracklet move
MIN_CROPS = 3
BOX = ["x1", "y1", "x2", "y2"]
KINDS = ("good", "stray", "false tracklet", "nobody", "another person", "hardly seen")


class EmptyPlaces:
    """Places in the frames of a video where nobody stands.

    Args:
        truth: a tables.Truth of this video.
        size: width and height of a frame, pixels.
        rng: draws the places.
    """

    def __init__(
        self, truth: pd.DataFrame, size: tuple[int, int], rng: np.random.Generator
    ) -> None:
        self._people = {frame: rows[BOX].to_numpy(float) for frame, rows in truth.groupby("frame")}
        self._size, self._rng = np.array(size), rng

    def draw(self, size: np.ndarray, frames: list[int]) -> np.ndarray | None:
        """A box of a size that shows nobody in any of some frames; None: none was found."""
        people = [self._people[frame] for frame in frames if frame in self._people]
        for _ in range(TRIES):
            corner = self._rng.integers(0, np.maximum(self._size - size, 1))
            box = np.concatenate([corner, corner + size]).astype(float)
            if all(iou(box[None], there).max() < EMPTY for there in people):
                return box
        return None


def planted(crops: pd.DataFrame, places: EmptyPlaces, rng: np.random.Generator) -> pd.DataFrame:
    """The crops of one video with strays in the place of some, and false tracklets behind them.

    Returns:
        As `crops`, with `planted` (the kind, empty for crops that are what they were) and `was`,
        the row of such a crop.
    """
    crops = crops.assign(planted="", was=crops.index)
    sizes = (crops[["x2", "y2"]].to_numpy() - crops[["x1", "y1"]].to_numpy()).astype(int)
    for place in np.flatnonzero(rng.random(len(crops)) < STRAYS):
        row = crops.index[place]
        box = places.draw(sizes[place], [crops.frame[row]])
        if box is not None:
            crops.loc[row, BOX], crops.loc[row, "planted"] = box, "stray"
    tracklets = crops.tracklet.unique()
    added = []
    for tracklet in rng.choice(tracklets, round(FALSE * len(tracklets)), replace=False):
        model = crops[(crops.tracklet == tracklet) & (crops.planted == "")]
        size = (model[["x2", "y2"]].to_numpy() - model[["x1", "y1"]].to_numpy()).astype(int)
        box = places.draw(np.median(size, axis=0).astype(int), model.frame.tolist())
        if box is None or len(model) < MIN_CROPS:
            continue
        moved = box + np.tile(rng.integers(-SHAKE, SHAKE + 1, (len(model), 2)), 2)
        copy = model.assign(planted="false tracklet", tracklet=-1 - tracklet)
        copy[BOX] = moved.clip(0)
        added.append(copy)
    return pd.concat([crops, *added], ignore_index=True)


def cut_out(crops: pd.DataFrame, video: pd.Series, store: CropStore, shard: Path) -> np.ndarray:
    """Write the crops of one video: the planted from its film, the others as they were.

    Returns:
        Offset and size of each, int64 [N, 2].
    """
    images: dict[int, np.ndarray] = {}
    wanted = dict(list(crops[crops.planted != ""].groupby("frame")))
    for index, _, frame in Frames(Path(video.path), video.fps, float("inf")):
        for row in wanted.get(index, crops[:0]).itertuples():
            x1, y1, x2, y2 = (int(row[crops.columns.get_loc(side) + 1]) for side in BOX)
            images[row.Index] = frame[y1:y2, x1:x2, ::-1].copy()
    with CropWriter(shard) as writer:
        return np.array(
            [
                writer.add(f"{row:08d}", images[row] if row in images else store.read(was))
                for row, was in crops.was.items()
            ]
        )


def mix(data: Path, out: Path, seed: int) -> pd.DataFrame:
    """Write the crops of `data` with planted ones among them below `out`.

    Returns:
        The tables.Crops, with `planted`.
    """
    rng = np.random.default_rng(seed)
    crops = tables.read(tables.Crops, data / "tracklets/crops.parquet").reset_index(drop=True)
    truth = tables.read(tables.Truth, data / "raw/truth.parquet")
    store = CropStore(data / "tracklets/crops", crops)
    parts = []
    for video in tables.read(tables.Videos, data / "raw/videos.parquet").itertuples():
        own = crops[crops.video == video.video]
        if not len(own):
            continue
        places = EmptyPlaces(truth[truth.video == video.video], (video.width, video.height), rng)
        part = planted(own, places, rng)
        found = cut_out(part, video, store, out / "tracklets/crops" / part.shard[0])
        parts.append(part.assign(offset=found[:, 0], size=found[:, 1]))
    mixed = pd.concat(parts, ignore_index=True)
    mixed["crop"] = np.arange(len(mixed))
    mixed["tracklet"] = pd.factorize(mixed.tracklet)[0]
    tables.write(tables.Crops, mixed, out / "tracklets/crops.parquet")
    return mixed


def ends(kind: np.ndarray, crops: pd.DataFrame, features: np.ndarray) -> list[list]:
    """A row for each kind: how many there are, and what levels 1 and 2 do with them."""
    first, second, _ = denoise(crops, features, Settings(min_crops=MIN_CROPS)).levels
    rule = np.where(first.ledger.action == "dropped", first.ledger.rule.astype(str), "")
    rows = []
    for name in KINDS:
        own = kind == name
        dropped = [int((own & (rule == why)).sum()) for why in ("radius", "outlier", "min_crops")]
        rows.append([name, int(own.sum()), *dropped, int((own & (second.labels >= 0)).sum())])
    return rows


def telling(kind: np.ndarray, crops: pd.DataFrame, features: np.ndarray) -> list[list]:
    """A row for each number: how well it tells each kind from good crops, one by one."""
    video, tracklet = pd.factorize(crops.video)[0], crops.tracklet.to_numpy()
    factors = np.empty(len(crops), np.float32)
    for number in np.unique(video):
        factors[video == number] = outliers.outlier_factors(features[video == number])
    centre = arrays.unit(features.mean(axis=0, keepdims=True))[0]
    told = {
        "from the others of its tracklet": arrays.distances_to_others(features, tracklet),
        "from the nearest crop of its video": 1 - likeness(features, video),
        "from the mean of all crops": 1 - features @ centre,
        "local outlier factor": factors,
        "… median of its tracklet": pd.Series(factors)
        .groupby(tracklet)
        .transform("median")
        .to_numpy(),
    }
    rows = []
    for name, values in told.items():
        areas = []
        for other in KINDS[1:]:
            both = (kind == "good") | (kind == other)
            areas.append(roc_auc_score(kind[both] == other, values[both]))
        rows.append([name, *areas])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    p = Embed.model_validate(params.read(Path("params.yaml"))["embed"])
    with tempfile.TemporaryDirectory() as folder:
        mixed = mix(given.data, Path(folder), given.seed)
        embedding.run(p, Runtime(), Path(folder))
        features = np.load(Path(folder, "embeddings/features.npy"))
    features = arrays.unit(features.astype(np.float32))
    truth = tables.read(tables.Truth, given.data / "raw/truth.parquet")
    bad = truth_of(mixed, truth)[1]
    kind = np.select(
        [mixed.planted != "", *(bad[name] for name in bad)], [mixed.planted, *bad], "good"
    )
    header = ["kind", "crops", "① radius", "① outlier", "① min_crops", "in an identity after ②"]
    print(tabulate(ends(kind, mixed, features), header, tablefmt="github"), "\n")
    header = ["distance", *(f"AUC, {name}" for name in KINDS[1:])]
    rows = telling(kind, mixed, features)
    print(tabulate(rows, header, floatfmt=".2f", tablefmt="github"))


if __name__ == "__main__":
    main()
