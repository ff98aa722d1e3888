"""The embed stage: one feature per crop."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from cion_core import tables, work
from cion_core.crops import CropStore
from cion_core.embed import kept
from cion_core.embed.balance import measure_balance
from cion_core.embed.batches import Reader
from cion_core.embed.embedders import EMBEDDERS
from cion_core.embed.embedders.base import Embedder
from cion_core.embed.model import MODELS, folder_of, load_embedder
from cion_core.embed.settings import Embed
from cion_core.progress import say, track
from cion_core.runtime import Runtime
from cion_core.zoo import card as cards

ROOM = "embed"  # of the work folder


def run(
    p: Embed, runtime: Runtime = Runtime(), root: Path = Path("data"), models: Path = MODELS
) -> None:
    """Write root/embeddings: one feature per crop, and what made it.

    features.npy: float16 [N, D], L2-normalised, row i of crops.parquet; embeddings.json.

    Args:
        p: the section of params.yaml.
        runtime: the device, and images at once.
        root: the folder that holds tracklets/.
        models: the folder that `p.model` is below.

    Raises:
        CionError: no such model, a crop cannot be read, or a feature is not finite.
    """
    model = folder_of(p, models)
    on_ray = runtime.engine == "ray"
    if on_ray:
        from cion_core.embed import on_cluster  # Ray is optional

        # The cluster's machines embed. This one needs the card alone, and may have no GPU.
        runtime = on_cluster.placed(runtime)
        device = runtime.device
        embedder = load_embedder(model, runtime.model_copy(update={"device": "cpu"}))
    else:
        embedder = load_embedder(model, runtime)
        device = embedder.device
    table = root / "tracklets/crops.parquet"
    crops = tables.read(tables.Crops, table)
    shards = root / "tracklets/crops"
    say(f"embed: {len(crops)} crops with {embedder.model}, {embedder.dim} numbers each")
    out = root / "embeddings"
    folder = work.folder(ROOM, _hash_inputs(embedder, device, p, runtime, table))
    if on_ray:
        on_cluster.embed_chunks(
            on_cluster.Footage(crops, shards), p.balance, model, runtime, folder
        )
    with work.atomic(out / "features.npy") as temporary:
        shape = (len(crops), embedder.dim)
        features = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
        if on_ray:
            kept.read_chunks(features, runtime.batch, folder)
        else:
            read = CropStore(shards, crops).read
            if p.balance:
                views = tables.camera_views(crops).to_numpy(object)
                read = balance_colours(views, read)
            kept.embed_all(features, embedder, read, runtime.batch, "embed", folder)
        features.flush()
    work.write_json(
        out / "embeddings.json",
        {
            "model": embedder.model,
            "weights": embedder.weights,
            "dim": embedder.dim,
            "crops": len(crops),
        },
    )
    shutil.rmtree(folder)


def _hash_inputs(embedder: Embedder, device: str, p: Embed, runtime: Runtime, table: Path) -> str:
    """A hash of all that a feature depends on: weights, card, code, where it runs, and crops."""
    about = {
        "weights": embedder.weights,
        "balance": p.balance,
        "device": device,
        "batch": runtime.batch,
        "precision": runtime.precision,
    }
    return work.key(about, table, embedder.folder / cards.FILE, *EMBEDDERS.files(embedder.name))


def balance_colours(views: np.ndarray, read: Reader) -> Reader:
    """Balance the colours of what is read; every row is read once to measure them.

    Args:
        views: the camera view of each row, [N].
        read: row to its image.

    Returns:
        `read`, whose images are balanced.
    """
    rows = track(range(len(views)), "balance colours", "crop")
    balance = measure_balance(views, read, rows)
    return lambda row: balance(read(row), row)
