"""How often identities are seen: in how many videos, tracklets and crops.

Is there anything across videos to learn?
"""

from __future__ import annotations

import numpy as np
import pandas as pd

# What an identity is counted by.
OF = ("videos", "tracklets", "crops")
# Of the crops, the share that is of identities seen in two videos: with fewer, hardly a batch holds
# one. Not measured.
LEAST = 0.05


def sightings(identity: np.ndarray, tracklet: np.ndarray, video: np.ndarray) -> pd.DataFrame:
    """Count how often each identity is seen.

    Args:
        identity: int [N], of each crop; -1: none, left out.
        tracklet: int [N].
        video: [N].

    Returns:
        One row per identity, by its number, with columns OF, int64.
    """
    table = pd.DataFrame(
        {"identity": identity, "tracklet": tracklet, "video": pd.factorize(video)[0]}
    )
    table = table[table.identity >= 0]
    found = pd.DataFrame({"crops": table.identity.value_counts(sort=False)})
    for name in ("tracklet", "video"):
        once = table[["identity", name]].drop_duplicates()
        found[f"{name}s"] = once.identity.value_counts(sort=False)
    return found[list(OF)].sort_index()


def again(seen: pd.DataFrame) -> dict[str, float]:
    """How many come again: are seen in two videos and more.

    Args:
        seen: as `sightings` gives it.

    Returns:
        The share of the `identities` that do, and of the `crops` that are theirs; 0 where there are
        none. Batches take identities by their crops, so the second is the share of training.
    """
    several = seen.videos > 1
    return {
        "identities": float(several.mean()) if len(seen) else 0.0,
        "crops": float(seen.crops[several].sum() / seen.crops.sum()) if len(seen) else 0.0,
    }


def warning(seen: pd.DataFrame) -> str | None:
    """What to tell a user whose identities are hardly ever seen in two videos; None: enough are."""
    share = again(seen)
    if share["crops"] >= LEAST:
        return None
    return (
        f"hardly anybody is seen in two videos ({100 * share['identities']:.1f} % of the "
        f"identities, with {100 * share['crops']:.1f} % of the crops): there is next to nothing "
        "across videos to learn from, and pre-training on these identities teaches no more than "
        "single tracklets do"
    )


def histogram(seen: pd.DataFrame, by: str) -> pd.DataFrame:
    """How many identities have how many videos, tracklets or crops.

    Args:
        seen: as `sightings` gives it.
        by: one of OF.

    Returns:
        Rows for the bins 1, 2, 3–4, 5–8 and so on, to the last that has an identity, by their
        names. Columns identities, once (of them those of one video), crops, median (crops of an
        identity, NaN where there is none).
    """
    place = np.ceil(np.log2(seen[by].to_numpy(float))).astype(np.int64)
    table = seen.assign(bin=place, once=seen.videos == 1)
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
    return bins.set_axis([_named(number) for number in every])


def _named(number: int) -> str:
    """The numbers n with ceil(log2 n) = number."""
    low, high = 2 ** (number - 1) + 1, 2**number
    return f"{low}–{high}" if number > 1 else str(high)
