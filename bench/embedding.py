"""How much of the model's own speed does embedding reach?

python bench/embedding.py --model models/osnet

Rendered people are packed as JPEGs, as extract does it. Then, in turns, the same images go through
the model alone (prepared before, so nothing is decoded), through the loop without a model (read,
decoded, resized in threads), and through the whole loop. Printed are images a second, and the whole
as a share of the slower of its two parts, the median of several turns. On a CPU both share the
cores, so each takes from the other what it needs; on a GPU the loop should reach 90 % and more.

A model is whatever `--model` takes anywhere. A name of the zoo, such as resnet50_ibn, stands for
its structure with random weights, for which no file is needed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cion_core import rendered, zoo
from cion_core.crops import CropStore, CropWriter
from cion_core.embed.batches import batches
from cion_core.embed.embedders.base import Embedder
from cion_core.embed.embedders.onnx import IMAGENET
from cion_core.embed.model import load_embedder
from cion_core.runtime import Runtime
from cion_core.zoo import Card, names


def packed(folder: Path, count: int) -> CropStore:
    """A store of `count` crops, of 64 rendered people again and again."""
    people = rendered.people(64)
    with CropWriter(folder / "a.tar") as writer:
        placed = [writer.add(f"{row:08d}", people[row % len(people)]) for row in range(count)]
    offsets, sizes = zip(*placed, strict=True)
    table = pd.DataFrame(
        {"crop": np.arange(count), "shard": "a.tar", "offset": offsets, "size": sizes}
    )
    return CropStore(folder, table)


class Reading:
    """Stands in for an embedder: images are prepared, and that is all."""

    overlaps = False

    def __init__(self, embedder: Embedder) -> None:
        self.model, self.prepare = embedder.model, embedder.prepare

    def __call__(self, images: list[np.ndarray]) -> np.ndarray:
        return np.zeros((len(images), 1), np.float32)


def of_structure(name: str, folder: Path) -> Path:
    """A model folder of a structure of the zoo with random weights."""
    torch.manual_seed(0)
    model = zoo.create_model(name)
    zoo.save(folder, model, Card(name, "random", (256, 128), *IMAGENET, model.num_features))
    return folder


def alone(embedder: Embedder, prepared: list[np.ndarray], batch: int) -> float:
    """Images a second of the model, from images of its size."""
    start = time.perf_counter()
    for first in range(0, len(prepared), batch):
        embedder(prepared[first : first + batch])
    return len(prepared) / (time.perf_counter() - start)


def looped(embedder: Embedder | Reading, store: CropStore, batch: int) -> float:
    """Images a second of the loop that the stage runs."""
    start = time.perf_counter()
    for _ in batches(embedder, store.read, len(store), batch, "embed"):
        pass
    return len(store) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="models/stripes", help="whatever --model takes anywhere")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model
        if model in names.BACKBONES:
            model = of_structure(model, Path(folder) / model)
        embedder = load_embedder(model, Runtime(device=options.device, batch=options.batch))
        store = packed(Path(folder), options.images)
        prepared = [embedder.prepare(store.read(row)) for row in range(len(store))]
        forms = {
            "model alone": lambda: alone(embedder, prepared, options.batch),
            "reading alone": lambda: looped(Reading(embedder), store, options.batch),
            "whole": lambda: looped(embedder, store, options.batch),
        }
        forms["model alone"]()  # the first turn warms up
        turns = [{name: measure() for name, measure in forms.items()} for _ in range(options.turns)]
    shares = [
        100 * turn["whole"] / min(turn["model alone"], turn["reading alone"]) for turn in turns
    ]
    rates = [f"{name} {statistics.median(turn[name] for turn in turns):.0f}/s" for name in forms]
    print(
        f"{embedder.model} on {embedder.device}: {', '.join(rates)}, "
        f"{statistics.median(shares):.0f} % of the slower part"
    )


if __name__ == "__main__":
    main()
