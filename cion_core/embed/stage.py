"""The embed stage: one feature per crop."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cion_core import tables, work
from cion_core.crops import CropStore
from cion_core.embed import kept
from cion_core.embed.balance import fit
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
    """Write root/embeddings: features.npy (float16 [N, D], L2-normalised, row i of crops.parquet)
    and its card.

    The embedder is the folder `p.model` below `models`.
    """
    model = folder_of(p, models)
    on_ray = runtime.engine == "ray"
    if on_ray:
        from cion_core.embed import on_cluster  # Ray is optional

        runtime = on_cluster.placed(runtime)
    # A cluster may have GPUs where this machine has none, which then asks the embedder for its card
    # alone.
    embedder = load_embedder(
        model, runtime.model_copy(update={"device": "cpu"}) if on_ray else runtime
    )
    table = root / "tracklets/crops.parquet"
    crops = tables.read(tables.Crops, table)
    shards = root / "tracklets/crops"
    say(f"embed: {len(crops)} crops with {embedder.model}, {embedder.dim} numbers each")
    out = root / "embeddings"
    device = runtime.device if on_ray else embedder.device
    folder = work.folder(ROOM, _key(embedder, device, p, runtime, table))
    if on_ray:
        on_cluster.embed_chunks(
            on_cluster.Footage(crops, shards), p.balance, model, runtime, folder
        )
    with work.atomic(out / "features.npy") as temporary:
        shape = (len(crops), embedder.dim)
        features = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
        if on_ray:
            kept.take(features, runtime.batch, folder)
        else:
            read = CropStore(shards, crops).read
            read = (
                balanced(tables.camera_views(crops).to_numpy(object), read) if p.balance else read
            )
            kept.fill(features, embedder, read, runtime.batch, "embed", folder)
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


def _key(embedder: Embedder, device: str, p: Embed, runtime: Runtime, table: Path) -> str:
    """Changes with all that a feature depends on: weights, card and code, where they run, and the
    crops.
    """
    about = {
        "weights": embedder.weights,
        "balance": p.balance,
        "device": device,
        "batch": runtime.batch,
        "precision": runtime.precision,
    }
    return work.key(about, table, embedder.folder / cards.FILE, *EMBEDDERS.files(embedder.name))


def balanced(videos: np.ndarray, read: Callable[[int], np.ndarray]) -> Callable[[int], np.ndarray]:
    """`read`, with shadows and the colours of each row's video or shot balanced; reads every row
    once to count them.
    """
    balance = fit(videos, read, track(range(len(videos)), "balance colours", "crop"))
    return lambda row: balance(read(row), row)
