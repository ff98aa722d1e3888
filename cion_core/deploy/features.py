"""Features of images as files that other programs read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cion_core import work
from cion_core.deploy import named_images
from cion_core.embed.batches import embed
from cion_core.embed.embedders.base import Embedder
from cion_core.embed.model import load_embedder
from cion_core.errors import CionError, is_unicode
from cion_core.images import read_image
from cion_core.runtime import Runtime

# So many images at once as a laptop takes.
SMALL_BATCHES = Runtime(batch=64)


def embed_files(
    embedder: Embedder,
    paths: Sequence[Path],
    digests: Sequence[str],
    what: str = "embed",
) -> np.ndarray:
    """Embed image files.

    Args:
        embedder: the model.
        paths: of the images.
        digests: the SHA-256 of each file's bytes, from when it was checked.
        what: names the progress bar.

    Returns:
        Features float32 [N, D], of length 1.
    """

    def read(row: int) -> np.ndarray:
        return read_image(paths[row], digests[row])

    return embed(embedder, read, len(paths), SMALL_BATCHES.batch, what)


def write_features(images: Sequence[Path], model: Path, out: Path) -> int:
    """Write features of images, of length 1.

    Args:
        images: files, and folders at any depth.
        model: a model folder.
        out: ends in .parquet (columns path and feature, a list of float32) or .npy (float32
            [N, D]; the rows' paths, the model and its weights' hash, and what was not used are in
            a .json beside it).

    Returns:
        How many.

    Raises:
        CionError: `out` has another name, or an image is not there.
    """
    if out.suffix not in (".parquet", ".npy"):
        raise CionError(f"{out}: a name ends in .parquet or .npy")
    if out.is_dir():
        raise CionError(f"{out}: it is a folder; name a file")
    for path in (out, *images):
        # Neither Parquet nor other programs could hold such a name.
        if not is_unicode(path):
            raise CionError(f"{path}: its name is not UTF-8; rename it")

    embedder = load_embedder(model, SMALL_BATCHES)
    found = named_images.find_images(images, "embed")
    features = embed_files(embedder, found.paths, found.digests)
    names = [str(path) for path in found.paths]
    about = {"model": embedder.model, "weights": embedder.weights, "dim": embedder.dim}
    unused = {"set_aside": found.set_aside, "passed_over": found.passed_over}
    if out.suffix == ".npy":
        with work.atomic(out) as temporary:
            np.save(temporary, features)
        work.write_json(out.with_suffix(".json"), {**about, "images": names, **unused})
    else:
        column = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), embedder.dim)
        table = pa.table({"path": names, "feature": column})
        metadata = {f"cion.{key}": str(value) for key, value in about.items()}
        metadata |= {f"cion.{key}": json.dumps(value) for key, value in unused.items()}
        with work.atomic(out) as temporary:
            pq.write_table(table.replace_schema_metadata(metadata), temporary)
    return len(names)
