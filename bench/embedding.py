"""How much of the model's own speed does embedding reach?

python bench/embedding.py --model models/osnet

Rendered people are packed as JPEGs, as extract does it. Then, in turns, the same images go through
the model alone (prepared before, so nothing is decoded) and through the whole loop (read, decoded,
resized in threads, embedded). Printed are images a second and the ratio of the two, the median of
several turns. On a CPU both share the cores, so decoding takes from the model what it needs; on a
GPU the loop should reach 90 % and more.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import rendered
from cion_core.crops import CropStore, CropWriter
from cion_core.embed.batches import batches
from cion_core.embed.embedders.base import Embedder
from cion_core.embed.model import load_embedder
from cion_core.runtime import Runtime


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


def alone(embedder: Embedder, prepared: list[np.ndarray], batch: int) -> float:
    """Images a second of the model, from images of its size."""
    start = time.perf_counter()
    for first in range(0, len(prepared), batch):
        embedder(prepared[first : first + batch])
    return len(prepared) / (time.perf_counter() - start)


def whole(embedder: Embedder, store: CropStore, batch: int) -> float:
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
    embedder = load_embedder(options.model, Runtime(device=options.device, batch=options.batch))
    with tempfile.TemporaryDirectory() as folder:
        store = packed(Path(folder), options.images)
        prepared = [embedder.prepare(store.read(row)) for row in range(len(store))]
        alone(embedder, prepared, options.batch)  # the first turn warms up
        turns = [
            (alone(embedder, prepared, options.batch), whole(embedder, store, options.batch))
            for _ in range(options.turns)
        ]
    model, loop = (statistics.median(turn[place] for turn in turns) for place in (0, 1))
    share = statistics.median(100 * loop / model for model, loop in turns)
    print(
        f"{embedder.model} on {embedder.device}: model alone {model:.0f}/s, whole {loop:.0f}/s, "
        f"{share:.0f} %"
    )


if __name__ == "__main__":
    main()
