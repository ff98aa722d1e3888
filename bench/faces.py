"""Blurred faces: how many are found, and what it costs to lose them.

    python bench/faces.py               recall on drawn faces, by their height and the light
    python bench/faces.py --data data   linking on the crops of a reproduced demo world as they are,
                                        and with every head blurred, as the figures tell where it is

The demo's heads are balls with two dark strokes, and too small for a face detector. So the second
table does not ask it: it blurs them all, which costs at least as much as blurring those it would
find.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from drawn_faces import Looks, box_of, draw_face, put
from tabulate import tabulate

from cion_core import params, tables
from cion_core.audit import scores
from cion_core.crops import CropStore, CropWriter
from cion_core.denoise import denoise
from cion_core.denoise.cannot_link import iou
from cion_core.denoise.settings import Denoise
from cion_core.embed import stage as embedding
from cion_core.embed.settings import Embed
from cion_core.extract.faces import FaceBlur, blur_boxes
from cion_core.runtime import Runtime

HEIGHTS = (8, 12, 16, 24, 32, 64)  # pixels
LIGHTS = {"day": 1.0, "dusk": 0.35}
FRAME = (360, 640)  # height and width, pixels
EACH = 24  # faces of each height in each light
NOISE = 4.0  # grey levels
FOUND = 0.3  # IoU of a face and what was found
# Of a figure, as shares of its height: the head's half width, and its height.
HEAD_HALF_WIDTH, HEAD_HEIGHT = 0.06, 0.14


def pictures(height: int, light: float, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures with EACH faces in all: BGR uint8 [H, W, 3], and boxes float32 [n, 4]."""
    rng = np.random.default_rng(seed)
    side = len(draw_face(Looks.sample(rng), height))
    places = [
        (x, y)
        for y in range(0, FRAME[0] - side + 1, side)
        for x in range(0, FRAME[1] - side + 1, side)
    ]
    found = []
    left = EACH
    while left:
        some = places[:left]
        picture = np.full((*FRAME, 3), rng.uniform(60, 180, 3), np.float32).astype(np.uint8)
        for x, y in some:
            put(picture, draw_face(Looks.sample(rng), height), x, y)
        seen = light * picture + rng.normal(0, NOISE, picture.shape)
        boxes = np.array([box_of(x, y, height) for x, y in some])
        found.append((seen.clip(0, 255).astype(np.uint8), boxes))
        left -= len(some)
    return found


def recall_of(faces: FaceBlur, height: int, light: float) -> tuple[float, int]:
    """Share of the faces that are found, and how many are found where there is none."""
    hits, false_alarms = 0, 0
    for picture, boxes in pictures(height, light, seed=height):
        found = faces.find(picture)
        overlap = iou(boxes[:, None], found[None])
        hits += int((overlap >= FOUND).any(axis=1).sum())
        false_alarms += int((overlap < FOUND).all(axis=0).sum())
    return hits / EACH, false_alarms


def headless(data: Path, out: Path) -> None:
    """Write the crops of `data` again below `out`, each with its figure's head blurred."""
    crops = tables.read(tables.Crops, data / "tracklets/crops.parquet")
    store = CropStore(data / "tracklets/crops", crops)
    places = np.empty((len(crops), 2), np.int64)
    for shard, rows in crops.groupby("shard").indices.items():
        with CropWriter(out / "tracklets/crops" / str(shard)) as writer:
            for row in rows:
                image = store.read(int(row))
                height, width = image.shape[:2]
                half = HEAD_HALF_WIDTH * height
                head = np.array([[width / 2 - half, 0, width / 2 + half, HEAD_HEIGHT * height]])
                places[row] = writer.add(f"{row:08d}", blur_boxes(image, head))
    crops = crops.assign(offset=places[:, 0], size=places[:, 1])
    tables.write(tables.Crops, crops, out / "tracklets/crops.parquet")


def linking(data: Path, truth: pd.DataFrame, values: dict) -> dict[str, float]:
    """Embed and denoise the crops of `data`.

    Returns precision, recall and F1 of pairs of tracklets of two videos.
    """
    p = Embed.model_validate(values["embed"])
    embedding.run(p, Runtime(), data)
    crops = tables.read(tables.Crops, data / "tracklets/crops.parquet")
    features = np.load(data / "embeddings/features.npy")
    settings = Denoise.model_validate(values["denoise"])
    labels = denoise(crops, features, settings).levels[-1].labels
    persons = scores.find_people(crops, truth)
    return scores.against_truth(crops, labels, persons)["cross_video"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="data/ of a demo world that was reproduced")
    given = parser.parse_args()
    if given.data is None:
        faces = FaceBlur()
        rows = []
        for height in HEIGHTS:
            cells = [recall_of(faces, height, light) for light in LIGHTS.values()]
            rows.append(
                [height, *(f"{recall:.2f}" for recall, _ in cells), sum(n for _, n in cells)]
            )
        header = ["height, pixels", *(f"recall, {name}" for name in LIGHTS), "false alarms"]
        print(tabulate(rows, header, tablefmt="github", disable_numparse=True))
        return
    values = params.read(Path("params.yaml"))
    truth = tables.read(tables.Truth, given.data / "raw/truth.parquet")
    with tempfile.TemporaryDirectory() as folder:
        seen, hidden = Path(folder, "seen"), Path(folder, "hidden")
        seen.mkdir()
        (seen / "tracklets").symlink_to((given.data / "tracklets").absolute())
        headless(given.data, hidden)
        rows = [
            [name, *linking(root, truth, values).values()]
            for name, root in (("as they are", seen), ("heads blurred", hidden))
        ]
    print(tabulate(rows, ["crops", "precision", "recall", "F1"], floatfmt=".3f", tablefmt="github"))


if __name__ == "__main__":
    main()
