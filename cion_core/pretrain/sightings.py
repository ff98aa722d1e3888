"""How often identities are seen: in how many videos, tracklets and crops.

Is there anything across videos to learn?
"""

from __future__ import annotations

import numpy as np
import pandas as pd

OF = ("videos", "tracklets", "crops")  # what an identity is counted by
# of the crops, those of identities seen in two videos: with fewer, hardly a batch holds one; not
# measured
LEAST = 0.05


def sightings(identity: np.ndarray, tracklet: np.ndarray, video: np.ndarray) -> pd.DataFrame:
    """One row per identity, by its number: how many videos, tracklets and crops it has, int64.

    identity, tracklet int [N], video [N]: of each crop; identity -1: none, left out.
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
    """The share of identities seen in two videos and more, and of the crops that are theirs; 0
    where there are none.

    seen: as `sightings` gives it. Batches take identities by their crops, so the second is the
    share of training.
    """
    several = seen.videos > 1
    return {
        "identities": float(several.mean()) if len(seen) else 0.0,
        "crops": float(seen.crops[several].sum() / seen.crops.sum()) if len(seen) else 0.0,
    }


def warning(seen: pd.DataFrame) -> str | None:
    """What to tell a user whose identities are hardly ever seen in two videos; None where enough
    are.
    """
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
    """How many identities have how many videos, tracklets or crops (`by`), in bins 1, 2, 3–4, 5–8
    and so on.

    Rows from the first bin to the last that has an identity, by their names; columns identities,
    once (of them those of one video), crops, median (crops of an identity, NaN where there is
    none).
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
