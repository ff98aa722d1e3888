"""`cion denoise --crops`: the public call on files of a user's own."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import tables, work
from cion_core.denoise import Settings, denoise, state
from cion_core.denoise.result import Denoised
from cion_core.denoise.stage import summary
from cion_core.embed.batches import batches
from cion_core.embed.embedders.base import Embedder
from cion_core.embed.model import load_embedder
from cion_core.errors import CionError
from cion_core.external import annotations, mot
from cion_core.external.mot_lines import PEDESTRIAN
from cion_core.external.source import Source, leave_out_damaged, read, read_features
from cion_core.images import read_image
from cion_core.progress import say
from cion_core.runtime import Runtime


def run(
    path: Path,
    out: Path,
    features: Path | None = None,
    model: Path | None = None,
    earlier: Path | None = None,
    settings: Settings = Settings(),
    runtime: Runtime = Runtime(),
    classes: Collection[int] = (PEDESTRIAN,),
) -> Denoised:
    """Denoise a user's own tracklets, and write what comes of them.

    What is written: identities.parquet, ledger.parquet and audit.json, which holds the audit of
    each level; annotations.json (CION-AL) where the crops' images are known; mot/VIDEO.txt if MOT
    text came in; input.json where something of the input was not used. A call that was killed while
    it linked goes on from `out`/linking.npz when it is made again.

    Args:
        path: a crops table, MOT text or a folder of images (see `source.read`).
        out: the folder to write.
        features: a .npy [N, D], row i for the i-th row, line or image.
        model: or a model folder that embeds the images, into `out`/features.npy.
        earlier: the `out` of a call for some of these crops, which have the same numbers still (it
            may be this `out`).
        settings: of the three levels.
        runtime: the device and the batch for `model`.
        classes: the numbers of people in MOT text that tells classes.

    Returns:
        The identities, the ledger and the audit.

    Raises:
        CionError: naming the file and what is wrong with it.
    """
    _check_arguments(path, out, features, model)

    # 1. The crops and their features.
    source = read(path, classes)
    _say_counts(source.crops)
    before = state.read_denoised(earlier) if earlier else None
    if model:
        source, feature_file = _embed_images(source, path, model, out, runtime)
    else:
        feature_file = features
    values = read_features(feature_file, source, path)

    # 2. The three levels.
    saved = out / "linking.npz"
    try:
        result = denoise(source.crops, values, settings, earlier=before, saved=saved)
    except CionError as error:
        raise CionError(f"{path}, {feature_file}: {error}") from None
    for level in tables.LEVELS:
        say(summary(result.audit[level]))
    if result.identities.empty:
        raise CionError(
            f"{path}: nothing is left of {len(source.crops)} crops; raise --tracklet-radius, "
            f"lower --min-crops, or look at {feature_file}"
        )

    # 3. The files.
    written = write(out, source, result)
    say(f"denoise: in {out}: {', '.join(written)}")
    saved.unlink(missing_ok=True)
    return result


def _check_arguments(path: Path, out: Path, features: Path | None, model: Path | None) -> None:
    """Raise CionError where arguments contradict each other, before anything is read."""
    if (features is None) == (model is None):
        raise CionError(
            "needed is --features FILE.npy or, for a folder of images, --model FOLDER: one of them"
        )
    if out.exists() and not out.is_dir():
        raise CionError(f"--out {out}: it is a file; name a folder")
    if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
        raise CionError(
            f"--out {out} lies in --crops {path}, which would be read again: choose another folder"
        )


def _say_counts(crops: pd.DataFrame) -> None:
    tracklets, videos = crops["tracklet"].nunique(), crops["video"].nunique()
    say(f"denoise: {len(crops)} crops in {tracklets} tracklets of {videos} videos")


def _embed_images(
    source: Source, path: Path, model: Path, out: Path, runtime: Runtime
) -> tuple[Source, Path]:
    """The crops whose images can be read, and the file of their features."""
    if source.form != "images":
        raise CionError(
            f"--model {model}: {path} holds no images to embed; give --features FILE.npy"
        )
    embedder = load_embedder(model, runtime)
    readable = leave_out_damaged(source, path)
    return readable, embed(readable, path, embedder, out, runtime.batch)


def embed(source: Source, folder: Path, embedder: Embedder, out: Path, batch: int) -> Path:
    """Embed a folder's images.

    Args:
        source: the crops, whose images have been looked at (`leave_out_damaged`).
        folder: what their paths begin in.
        embedder: what embeds them.
        out: the folder to write features.npy into.
        batch: images at once.

    Returns:
        The file: float16 [source.total, D], a row per image of the folder. Those set aside have
        zeros.
    """
    names = source.crops["path"].to_numpy(object)
    file = out / "features.npy"

    def read_row(row: int) -> np.ndarray:
        return read_image(folder / names[row], source.digests[row])

    with work.atomic(file) as temporary:
        shape = (source.total, embedder.dim)
        features = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
        for start, values in batches(embedder, read_row, len(names), batch, "embed"):
            rows = source.rows[start : start + len(values)]
            features[rows] = values
        features.flush()
    return file


def write(out: Path, source: Source, result: Denoised) -> list[str]:
    """Write the result.

    Args:
        out: the folder.
        source: what was brought.
        result: what denoising made of it.

    Returns:
        What to say of each file.
    """
    identities, crops = result.identities, source.crops
    state.forget(out)
    tables.write(tables.Identities, identities, out / "identities.parquet")
    tables.write(tables.Ledger, result.ledger, out / "ledger.parquet")
    work.write_json(out / "audit.json", result.audit)
    state.write_denoised(result, out)
    written = [f"identities.parquet ({len(identities)} crops)", "ledger.parquet", "audit.json"]
    if any(source.unused.values()):
        work.write_json(out / "input.json", source.unused)
        written.append("input.json (what was not used)")
    if "path" in crops:
        labelled_images = crops[["crop", "path"]].merge(identities, on="crop")
        annotations.write(out / "annotations.json", labelled_images)
        written.append("annotations.json (CION-AL)")
    if source.form == "mot":
        texts = mot.write(out / "mot", crops, identities)
        written.append(f"mot/ ({len(texts)} videos)")
    return written
