"""`cion denoise --crops`: the public call on files of a user's own."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

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
from cion_core.external.source import Source, read, read_features, without_damaged
from cion_core.images import read_image
from cion_core.progress import say
from cion_core.runtime import Runtime


def run(
    what: Path,
    out: Path,
    features: Path | None = None,
    model: Path | None = None,
    earlier: Path | None = None,
    settings: Settings = Settings(),
    runtime: Runtime = Runtime(),
    classes: Collection[int] = (PEDESTRIAN,),
) -> Denoised:
    """Denoise the tracklets of `what`, and write `out`.

    What is written: identities.parquet, ledger.parquet and audit.json, which holds the audit of
    each level; annotations.json (CION-AL) where the crops' images are known; mot/VIDEO.txt if MOT
    text came in; input.json where something of the input was not used. A call that was killed while
    it linked goes on from `out`/linking.npz when it is made again.

    Args:
        what: a crops table, MOT text or a folder of images (see `source.read`).
        out: the folder to write.
        features: a .npy [N, D], row i for the i-th row, line or image.
        model: or a model folder that embeds the images, into `out`/features.npy.
        earlier: the `out` of a call for some of these crops, which have the same numbers still (it
            may be this `out`).
        settings: of the three levels.
        runtime: the device and the batch for `model`.
        classes: the numbers of people in MOT text that tells classes.

    Raises:
        CionError: naming the file and what is wrong with it.
    """
    if (features is None) == (model is None):
        raise CionError(
            "needed is --features FILE.npy or, for a folder of images, --model FOLDER: one of them"
        )
    if out.exists() and not out.is_dir():
        raise CionError(f"--out {out}: it is a file; name a folder")
    if what.is_dir() and out.resolve().is_relative_to(what.resolve()):
        raise CionError(
            f"--out {out} lies in --crops {what}, which would be read again: choose another folder"
        )
    source = read(what, classes)
    crops = source.crops
    say(
        f"denoise: {len(crops)} crops in {crops.tracklet.nunique()} tracklets of "
        f"{crops.video.nunique()} videos"
    )
    before, saved = state.read_result(earlier) if earlier else None, out / "linking.npz"
    if model:
        if source.unit != "images":
            raise CionError(
                f"--model {model}: {what} holds no images to embed; give --features FILE.npy"
            )
        embedder = load_embedder(model, runtime)
        source = without_damaged(source, what)
        path = embedded(source, what, embedder, out, runtime.batch)
    else:
        path = features
    values = read_features(path, source, what)
    try:
        result = denoise(source.crops, values, settings, earlier=before, saved=saved)
    except CionError as error:
        raise CionError(f"{what}, {path}: {error}") from None
    for level in tables.LEVELS:
        say(summary(result.audit[level]))
    if result.identities.empty:
        raise CionError(
            f"{what}: nothing is left of {len(source.crops)} crops; raise --tracklet-radius, "
            f"lower --min-crops, or look at {path}"
        )
    say(f"denoise: in {out}: {', '.join(write(out, source, result))}")
    saved.unlink(missing_ok=True)
    return result


def embedded(source: Source, what: Path, embedder: Embedder, out: Path, batch: int) -> Path:
    """Embed a folder's images.

    Args:
        source: the crops, whose images have been looked at (`without_damaged`).
        what: the folder that their paths lie in.
        embedder: what embeds them.
        out: the folder to write features.npy into.
        batch: images at once.

    Returns:
        The file: float16 [source.total, D], a row per image of the folder. Those set aside have
        zeros.
    """
    names = source.crops.path.to_numpy(object)
    path = out / "features.npy"
    with work.atomic(path) as temporary:
        shape = (source.total, embedder.dim)
        rows = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)

        def read_row(row: int) -> np.ndarray:
            return read_image(what / names[row], source.digests[row])

        for start, part in batches(embedder, read_row, len(names), batch, "embed"):
            rows[source.rows[start : start + len(part)]] = part
        rows.flush()
    return path


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
    state.write_result(result, out)
    written = [f"identities.parquet ({len(identities)} crops)", "ledger.parquet", "audit.json"]
    if any(source.unused.values()):
        work.write_json(out / "input.json", source.unused)
        written.append("input.json (what was not used)")
    if "path" in crops:
        annotations.write(
            out / "annotations.json", crops[["crop", "path"]].merge(identities, on="crop")
        )
        written.append("annotations.json (CION-AL)")
    if source.unit == "lines":
        written.append(f"mot/ ({len(mot.write(out / 'mot', crops, identities))} videos)")
    return written
