"""The embed stage: one feature per crop."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from cion_core import tables, work
from cion_core.crops import CropStore
from cion_core.embed import kept
from cion_core.embed.balance import fit
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

        runtime = on_cluster.placed(runtime)
    # A cluster may have GPUs where this machine has none, which then asks the embedder for its card
    # alone.
    here = runtime.model_copy(update={"device": "cpu"}) if on_ray else runtime
    embedder = load_embedder(model, here)
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
            if p.balance:
                read = balance_colours(tables.camera_views(crops).to_numpy(object), read)
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
    """A hash of all that a feature depends on: weights, card, code, where it runs, and crops."""
    about = {
        "weights": embedder.weights,
        "balance": p.balance,
        "device": device,
        "batch": runtime.batch,
        "precision": runtime.precision,
    }
    return work.key(about, table, embedder.folder / cards.FILE, *EMBEDDERS.files(embedder.name))


def balance_colours(videos: np.ndarray, read: Reader) -> Reader:
    """Balance the colours of what is read; every row is read once to measure them.

    Args:
        videos: the video or shot of each row, [N].
        read: row to its image.

    Returns:
        `read`, whose images are balanced.
    """
    balance = fit(videos, read, track(range(len(videos)), "balance colours", "crop"))
    return lambda row: balance(read(row), row)
