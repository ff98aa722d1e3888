"""A model that somebody brings, made a model folder, looked at, and tried on the user's own tracklets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cion_core import tables
from cion_core.crops import CropStore
from cion_core.deploy import preparation, sanity, separation
from cion_core.embed import bring
from cion_core.embed.bring import Preparation
from cion_core.embed.embedders.base import Embedder
from cion_core.embed.model import load_embedder
from cion_core.errors import CionError

DRAWN = 240  # triples of crops that each preparation is tried on: a minute or two on a laptop
FEWEST = 5  # tracklets that were seen beside others; fewer say nothing of a model


def add(source: Path | str, folder: Path, asked: Preparation) -> Embedder:
    """Write the model folder, load it, and return the embedder that it makes.

    Raises:
        CionError: there is a folder of this name, or the model cannot be read.
    """
    if folder.exists():
        raise CionError(f"{folder}: is there already; remove it, or choose another --name")
    bring.bring(source, folder, asked)
    return load_embedder(folder)


def judged(embedder: Embedder, tracklets: Path) -> Iterator[str]:
    """What can be said of a model that was added, a line each.

    Args:
        embedder: the model.
        tracklets: the folder that `extract` writes; it may be absent.
    """
    yield from sanity.of_folder(embedder.folder) or ["nothing wrong found on rendered people"]
    yield from on_tracklets(embedder, tracklets)


def on_tracklets(embedder: Embedder, tracklets: Path) -> Iterator[str]:
    """How well each usual preparation tells the people of tracklets apart, and which one to use; a line each.

    Args:
        embedder: a model that normalises its images.
        tracklets: the folder that `extract` writes; it may be absent.
    """
    table = tracklets / "crops.parquet"
    if not table.is_file():
        yield f"not tried on your own people: no {table} (`cion extract` writes it)"
        return
    crops = tables.read(tables.Crops, table)
    drawn = separation.triples(crops, DRAWN)
    people = len(np.unique(drawn.tracklet))
    if people < FEWEST:
        yield f"not tried on your own people: {table} has {people} tracklets seen beside others, fewer than {FEWEST}"
        return
    store = CropStore(tracklets / "crops", crops)
    images = [store.read(int(row)) for row in drawn.rows]
    results = preparation.tried(
        embedder, images, lambda features: separation.right_order(features, drawn).to_numpy()
    )  # fmt: skip
    yield f"{people} of your tracklets, told from whoever was seen beside them:"
    yield from (one.text() for one in sorted(results, key=lambda one: -one.mean_score))
    best = preparation.best(results)
    if best is results[0]:
        yield "none is clearly better than the card's preparation"
        return
    words = [f"--mean {numbers(best.mean)}", f"--std {numbers(best.std)}", *["--bgr"] * best.bgr]
    yield f"clearly better: {best.name}. Add it again with {' '.join(words)}"


def numbers(values: tuple[float, ...]) -> str:
    """As the command line takes them: `0.485,0.456,0.406`."""
    return ",".join(f"{value:.6g}" for value in values)
