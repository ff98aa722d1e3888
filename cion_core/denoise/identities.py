"""`cion identities`: a finished run at another confidence; nothing is linked again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import tables
from cion_core.denoise.linking.confidence import read_at
from cion_core.denoise.state import read_labels
from cion_core.errors import CionError

# What the stages write, below their folder.
STAGE_CROPS = "tracklets/crops.parquet"
STAGE_BEFORE = "denoise/video"
STAGE_LINKS = "denoise/cross_video/links.npz"
# What `cion denoise --crops` writes into its --out.
CALL_CROPS = "earlier.parquet"
CALL_LINKS = "links.npz"


def run(folder: Path, confidence: float, out: Path | None = None) -> str:
    """Drop the links that are less sure, and write the identities that are left.

    Args:
        folder: what the stages wrote (data), or the --out of `cion denoise --crops`.
        confidence: keep links that are right with at least this probability.
        out: the file to write, a tables.Identities; None writes nothing.

    Returns:
        One line that says what came of it.

    Raises:
        CionError: a file is missing, or the links have no probabilities.
    """
    crops, before, links = read(folder)
    done = read_at(links, before, confidence)
    has_identity = done.labels >= 0
    found = crops.assign(identity=done.labels)[has_identity]
    if out:
        identities = found[["crop", "identity"]].sort_values("crop")
        tables.write(tables.Identities, identities, out)

    seen_in = found[["identity", "video"]].drop_duplicates()
    videos_of = seen_in.identity.value_counts()
    across = int((videos_of > 1).sum())
    where = f", written to {out}" if out else ""
    return (
        f"at confidence {confidence:g}: {len(videos_of)} identities, of which {across} are seen in "
        f"two videos and more; {done.merges_dropped} of {done.merges} links are cut{where}"
    )


def read(folder: Path) -> tuple[pd.DataFrame, np.ndarray, Path]:
    """What identities are made of.

    Returns:
        The crops (crop, video); the identity of each after level 2, int64 [N]; the file of links.

    Raises:
        CionError: the folder holds no result.
    """
    if (folder / CALL_CROPS).is_file():
        crops = pd.read_parquet(folder / CALL_CROPS, columns=["crop", "video", "after_video"])
        before = crops.pop("after_video").to_numpy()
        return crops, before, folder / CALL_LINKS
    if not (folder / STAGE_CROPS).is_file():
        raise CionError(
            f"{folder}: holds neither {STAGE_CROPS}, which the stages write, nor {CALL_CROPS} of "
            "`cion denoise --crops`"
        )
    crops = pd.read_parquet(folder / STAGE_CROPS, columns=["crop", "video"])
    before = read_labels(folder / STAGE_BEFORE, crops.crop.to_numpy())
    return crops, before, folder / STAGE_LINKS
