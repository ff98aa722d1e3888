"""A model that somebody brings: made a model folder, checked, and tried on the user's tracklets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cion_core import tables
from cion_core.crops import CropStore
from cion_core.deploy import preparation, sanity, separation
from cion_core.deploy.preparation import ImagePreparation
from cion_core.embed import bring
from cion_core.embed.bring import Overrides
from cion_core.embed.embedders.base import Embedder
from cion_core.embed.model import load_embedder
from cion_core.errors import CionError

# Triples of crops that each preparation is tried on: a minute or two on a laptop.
TRIPLES = 240
# With fewer tracklets that were seen beside others nothing can be said of a model.
MIN_TRACKLETS = 5


def add_model(source: Path | str, folder: Path, asked: Overrides) -> Embedder:
    """Write a model folder, and load it.

    Args:
        source: an ONNX file, a file of weights, `hf:ORG/NAME`, or a name of timm.
        folder: to write.
        asked: how the user says that images are prepared.

    Returns:
        The embedder of the folder.

    Raises:
        CionError: there is a folder of this name, or the model cannot be read.
    """
    if folder.exists():
        raise CionError(f"{folder}: is there already; remove it, or choose another --name")
    bring.bring(source, folder, asked)
    return load_embedder(folder)


def judge_model(embedder: Embedder, tracklets: Path) -> Iterator[str]:
    """What can be said of a model that was added, a line each.

    Args:
        embedder: the model.
        tracklets: the folder that `extract` writes; it may be absent.
    """
    faults = sanity.check_model(embedder.folder)
    yield from faults or ["nothing wrong found on rendered people"]
    yield from try_on_tracklets(embedder, tracklets)


def try_on_tracklets(embedder: Embedder, tracklets: Path) -> Iterator[str]:
    """How well each usual preparation tells the people of tracklets apart; a line each.

    The last line says which preparation to use.

    Args:
        embedder: a model that normalises its images.
        tracklets: the folder that `extract` writes; it may be absent.
    """
    path = tracklets / "crops.parquet"
    if not path.is_file():
        yield f"not tried on your own people: no {path} (`cion extract` writes it)"
        return
    crops = tables.read(tables.Crops, path)
    triples = separation.draw_triples(crops, TRIPLES)
    people = len(np.unique(triples.tracklet))
    if people < MIN_TRACKLETS:
        found = f"{people} tracklets seen beside others, fewer than {MIN_TRACKLETS}"
        yield f"not tried on your own people: {path} has {found}"
        return

    store = CropStore(tracklets / "crops", crops)
    images = [store.read(int(row)) for row in triples.rows]

    def score_tracklets(features: np.ndarray) -> np.ndarray:
        return separation.share_in_right_order(features, triples).to_numpy()

    results = preparation.try_preparations(embedder, images, score_tracklets)
    yield f"{people} of your tracklets, told from whoever was seen beside them:"
    for result in sorted(results, key=lambda result: -result.percent):
        yield result.to_text()
    best = preparation.find_best(results)
    if best is results[0]:
        yield "none is clearly better than the card's preparation"
    else:
        yield f"clearly better: {best.way.name}. Add it again with {_to_options(best.way)}"


def _to_options(way: ImagePreparation) -> str:
    """A preparation as the command line takes it: `--mean 0.485,0.456,0.406 --std ...`."""
    options = f"--mean {_join_numbers(way.mean)} --std {_join_numbers(way.std)}"
    return f"{options} --bgr" if way.bgr else options


def _join_numbers(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:.6g}" for value in values)
