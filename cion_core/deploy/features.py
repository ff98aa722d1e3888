"""Features of images as files that other programs read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cion_core import work
from cion_core.deploy import crops
from cion_core.embed.batches import embed
from cion_core.embed.embedders.base import Embedder
from cion_core.embed.model import load_embedder
from cion_core.errors import CionError, is_unicode
from cion_core.images import read_image
from cion_core.runtime import Runtime

FEW = Runtime(batch=64)  # images at once: what a laptop takes


def of(embedder: Embedder, paths: Sequence[Path], digests: Sequence[str], what: str = "embed") -> np.ndarray:
    """Unit features float32 [N, D] of image files that have been looked at, whose bytes have these SHA-256."""
    return embed(embedder, lambda row: read_image(paths[row], digests[row]), len(paths), FEW.batch, what)


def write(images: Sequence[Path], model: Path, out: Path) -> int:
    """Write unit features of images.

    Args:
        images: files, and folders at any depth.
        model: a model folder.
        out: ends in .parquet (columns path and feature, a list of float32) or .npy (float32 [N, D]; the rows' paths,
            the model and its weights' hash, and what was not used are in a .json beside it).

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
        if not is_unicode(path):  # neither Parquet nor other programs could hold it
            raise CionError(f"{path}: its name is not UTF-8; rename it")
    embedder = load_embedder(model, FEW)
    found = crops.files(images, "embed")
    paths = found.paths
    features = of(embedder, paths, found.digests)
    about = {"model": embedder.model, "weights": embedder.weights, "dim": embedder.dim}
    unused = {"set_aside": found.set_aside, "passed_over": found.passed_over}
    names = [str(path) for path in paths]
    if out.suffix == ".npy":
        with work.atomic(out) as temporary:
            np.save(temporary, features)
        work.write_json(out.with_suffix(".json"), {**about, "images": names, **unused})
    else:
        column = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), embedder.dim)
        table = pa.table({"path": names, "feature": column})
        stated = {f"cion.{key}": str(value) for key, value in about.items()}
        stated |= {f"cion.{key}": json.dumps(value) for key, value in unused.items()}
        with work.atomic(out) as temporary:
            pq.write_table(table.replace_schema_metadata(stated), temporary)
    return len(paths)
