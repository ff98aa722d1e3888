"""Labelled sets in Market-1501's layout: the one adapter for Market-1501, its like, and the demo's benchmark.

    FOLDER/bounding_box_train/   0002_c1s1_000451_03.jpg ...
    FOLDER/query/
    FOLDER/bounding_box_test/    the gallery; person -1 is junk, 0000 a distractor

A name begins with the person and the camera, PERSON_cCAMERA; what follows is free, so DukeMTMC-reID
(`0001_c2_f0046182.jpg`) and CUHK03-NP (`0001_c1_301.png`) are read too. MSMT17 is when its images carry such names
and its people count from 1.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import params, tables, work
from cion_core.errors import CionError
from cion_core.evaluate.metrics import DISTRACTOR, Labels, findable
from cion_core.images import read_image
from cion_core.progress import say, track

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
SUFFIXES = (".jpg", ".jpeg", ".png")
_NAME = re.compile(r"(-1|\d+)_c(\d+)(?!\d)")


def read(folder: Path | str) -> pd.DataFrame:
    """The images of a folder in Market-1501's layout, as tables.Benchmark, sorted by name within each split.

    CionError names a missing folder, one without images, or names that do not tell person and camera. Other files
    (Thumbs.db, readme.txt) and hidden ones are passed over.
    """
    folder = Path(folder)
    missing = [name for name in FOLDERS.values() if not (folder / name).is_dir()]
    if missing:
        raise CionError(f"{folder}: no folder {', '.join(missing)}; a benchmark has {', '.join(FOLDERS.values())}")
    return pd.concat([_split(folder / name, split) for split, name in FOLDERS.items()], ignore_index=True)


def _split(folder: Path, split: str) -> pd.DataFrame:
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not paths:
        raise CionError(f"{folder}: no images ({', '.join(SUFFIXES)})")
    matches = [_NAME.match(path.name) for path in paths]
    bad = [path.name for path, match in zip(paths, matches, strict=True) if not match or int(match[2]) < 1]
    if bad:
        raise CionError(
            f"{folder}: {len(bad)} of {len(paths)} names tell no person and camera: {', '.join(bad[:5])}; "
            "valid: 0002_c1s1_000451_03.jpg (person 2, camera 1; cameras from 1; -1 junk, 0000 distractor)"
        )
    return pd.DataFrame(
        {
            "path": [str(path) for path in paths],
            "split": split,
            "person": [int(match[1]) for match in matches],
            "camera": [int(match[2]) for match in matches],
        }
    )


def labels(images: pd.DataFrame) -> Labels:
    """Person and camera of a table's rows."""
    return Labels(images["person"].to_numpy(np.int64), images["camera"].to_numpy(np.int64))


def run(p: params.Benchmark, root: Path = Path("data")) -> None:
    """Write root/benchmark: images.parquet, benchmark.json, and the rendered images of a source with a world.yaml.

    A folder of the user's is referenced where it lies, and every image of it is read once: one that is broken is
    better known now than after the pre-training.
    """
    source, out = Path(p.source), root / "benchmark"
    if not source.is_dir():
        raise CionError(f"benchmark.source: no folder {source}; valid: demo, or a folder in Market-1501's layout")
    images = read(_render(source, out) or source)
    for path in track(images["path"], "benchmark: reading every image", "image", len(images)):
        read_image(path)
    about = describe(images)
    if about["queries_without_match"] == about["images"]["query"]:
        raise CionError(
            f"{source}: no query's person is in the gallery under another camera, so there is nothing to measure; "
            "is this a re-identification benchmark?"
        )
    tables.write(tables.Benchmark, images, out / "images.parquet")
    work.write_json(out / "benchmark.json", {"name": source.resolve().name, "source": p.source, **about})
    sizes = ", ".join(f"{count} {split}" for split, count in about["images"].items())
    say(f"benchmark: {sizes} images of {about['people']['test']} people to find, {about['cameras']} cameras")
    if about["queries_without_match"]:
        say(
            f"benchmark: {about['queries_without_match']} queries lack an image of their person under another "
            "camera in the gallery; the means leave them out"
        )


def _render(source: Path, out: Path) -> Path | None:
    from demo_world import load_world, render_benchmark  # only a demo needs the renderer

    world = load_world(source)
    if world is None:
        return None
    for name in FOLDERS.values():
        shutil.rmtree(out / name, ignore_errors=True)
    say(f"benchmark: rendering the labelled people of {source}")
    render_benchmark(world, out)
    return out


def describe(images: pd.DataFrame) -> dict:
    """Counts of a benchmark; `queries_without_match` are those that the protocol leaves out."""
    split = dict(list(images.groupby("split")))
    people = {name: int(part.person[part.person > DISTRACTOR].nunique()) for name, part in split.items()}
    return {
        "people": {"train": people["train"], "test": people["query"]},
        "images": {name: len(split[name]) for name in FOLDERS},
        "cameras": int(images["camera"].nunique()),
        "queries_without_match": int((~findable(labels(split["query"]), labels(split["gallery"]))).sum()),
    }
