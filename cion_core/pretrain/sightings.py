"""How often identities are seen: in how many videos, tracklets and crops.

It says whether there is anything across videos to learn.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

COUNTED_BY = ("videos", "tracklets", "crops")  # what an identity is counted in
# The least share of crops whose identities are seen in two videos. With fewer, hardly a batch holds
# one. The number is a guess, not measured.
LEAST = 0.05


def sightings(identity: np.ndarray, tracklet: np.ndarray, video: np.ndarray) -> pd.DataFrame:
    """How many videos, tracklets and crops each identity has.

    Args:
        identity: int [N], of each crop; crops of -1, which is none, are left out.
        tracklet: int [N].
        video: [N].

    Returns:
        One row per identity, by its number; columns COUNTED_BY, int64.
    """
    table = pd.DataFrame(
        {"identity": identity, "tracklet": tracklet, "video": pd.factorize(video)[0]}
    )
    table = table[table.identity >= 0]
    found = pd.DataFrame({"crops": table.identity.value_counts(sort=False)})
    for name in ("tracklet", "video"):
        different = table[["identity", name]].drop_duplicates()
        found[f"{name}s"] = different.identity.value_counts(sort=False)
    return found[list(COUNTED_BY)].sort_index()


def shares_seen_again(seen: pd.DataFrame) -> dict[str, float]:
    """The shares of identities seen in two videos and more, and of their crops.

    Batches take identities by their crops, so the second is the share of training.

    Args:
        seen: as `sightings` returns it.

    Returns:
        {"identities": share, "crops": share}; 0 where there are none.
    """
    if not len(seen):
        return {"identities": 0.0, "crops": 0.0}
    several = seen.videos > 1
    crops = seen.crops[several].sum() / seen.crops.sum()
    return {"identities": float(several.mean()), "crops": float(crops)}


def warning(seen: pd.DataFrame) -> str | None:
    """What to tell a user whose identities are hardly ever seen in two videos; else None."""
    share = shares_seen_again(seen)
    if share["crops"] >= LEAST:
        return None
    return (
        f"hardly anybody is seen in two videos ({100 * share['identities']:.1f} % of the "
        f"identities, with {100 * share['crops']:.1f} % of the crops): there is next to nothing "
        "across videos to learn from, and pre-training on these identities teaches no more than "
        "single tracklets do"
    )


def histogram(seen: pd.DataFrame, by: str) -> pd.DataFrame:
    """How many identities have how many videos, tracklets or crops, in bins 1, 2, 3–4, 5–8 and on.

    Args:
        seen: as `sightings` returns it.
        by: the column that is counted, one of COUNTED_BY.

    Returns:
        Rows by the names of the bins, from the first to the last that has an identity. Columns:
        identities, once (of them those of one video), crops, median (crops of an identity, NaN
        where there is none).
    """
    number = np.ceil(np.log2(seen[by].to_numpy(float))).astype(np.int64)
    table = seen.assign(bin=number, once=seen.videos == 1)
    bins = table.groupby("bin").agg(
        identities=("crops", "size"),
        once=("once", "sum"),
        crops=("crops", "sum"),
        median=("crops", "median"),
    )
    every = pd.RangeIndex(bins.index.max() + 1 if len(bins) else 0)
    bins = bins.reindex(every)
    counts = ["identities", "once", "crops"]
    bins[counts] = bins[counts].fillna(0).astype(np.int64)
    return bins.set_axis([_bin_name(number) for number in every])


def _bin_name(number: int) -> str:
    """The numbers n with ceil(log2 n) = number: of 0 "1", of 2 "3–4"."""
    low, high = 2 ** (number - 1) + 1, 2**number
    return f"{low}–{high}" if number > 1 else str(high)
