"""`cion identities`: the identities of a finished run at another confidence, without linking again."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cion_core import tables
from cion_core.denoise.linking.confidence import read_cut
from cion_core.denoise.state import read_labels
from cion_core.errors import CionError

STAGES = ("tracklets/crops.parquet", "denoise/video", "denoise/cross_video/links.npz")  # below the stages' folder
CALL = ("earlier.parquet", "links.npz")  # in the --out folder of `cion denoise --crops`


def run(folder: Path, confidence: float, out: Path | None = None) -> str:
    """Cut the identities of `folder` at the confidence, and write them to `out`, a tables.Identities; one line of what
    came of it.

    folder: what the stages wrote (data), or the --out of `cion denoise --crops`. Raises CionError naming the file that
    is missing, or where the links have no probabilities.
    """
    video, crop, before, links = read(folder)
    done = read_cut(links, before, confidence)
    kept = done.labels >= 0
    found = pd.DataFrame({"crop": crop, "video": video, "identity": done.labels})[kept]
    if out:
        tables.write(tables.Identities, found[["crop", "identity"]].sort_values("crop"), out)
    videos = found[["identity", "video"]].drop_duplicates().identity.value_counts()
    where = f", written to {out}" if out else ""
    return (
        f"at confidence {confidence:g}: {len(videos)} identities, of which {int((videos > 1).sum())} are seen in two "
        f"videos and more; {done.cut} of {done.links} links are cut{where}"
    )


def read(folder: Path) -> tuple[pd.Series, pd.Series, pd.Series, Path]:
    """The video, the number and the identity after level 2 of each crop, and where the links lie."""
    if (folder / CALL[0]).is_file():
        crops = pd.read_parquet(folder / CALL[0], columns=["crop", "video", "after_video"])
        return crops.video, crops.crop, crops.after_video.to_numpy(), folder / CALL[1]
    if not (folder / STAGES[0]).is_file():
        raise CionError(
            f"{folder}: holds neither {STAGES[0]}, which the stages write, nor {CALL[0]} of `cion denoise --crops`"
        )
    crops = pd.read_parquet(folder / STAGES[0], columns=["crop", "video"])
    return crops.video, crops.crop, read_labels(folder / STAGES[1], crops.crop.to_numpy()), folder / STAGES[2]
