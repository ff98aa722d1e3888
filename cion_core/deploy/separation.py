"""How well features tell people apart on tracklets that nobody has labelled.

Two crops of one tracklet show one person; two crops of one frame show two people. So a crop should
be nearer to its own tracklet than to whoever was seen beside it, in the same light and by the same
camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cion_core.denoise.cannot_link import crop_pairs

EACH = 4  # triples of one pair of tracklets, at most: neighbouring frames say the same


@dataclass(frozen=True)
class Triples:
    """Rows of crops: `anchor` and `same` are of one tracklet, `other` was seen beside `anchor`; int [T] each."""

    anchor: np.ndarray
    same: np.ndarray
    other: np.ndarray
    tracklet: np.ndarray  # of the anchor

    @property
    def rows(self) -> np.ndarray:
        """The rows of crops that are needed, sorted."""
        return np.unique(np.concatenate([self.anchor, self.same, self.other]))


def triples(crops: pd.DataFrame, most: int = 2000, seed: int = 0) -> Triples:
    """Draw triples of a table of crops.

    Args:
        crops: video, frame, time_s, tracklet, and boxes if there are any (see `crop_pairs`); a row each.
        most: triples, at most.
        seed: of the draw.

    Returns:
        Of each two tracklets that were seen together up to `EACH` triples; none where no two were.
        `same` is the crop of the anchor's tracklet that is farthest from it in time.
    """
    rng = np.random.default_rng(seed)
    crops = crops.reset_index(drop=True)
    together = crop_pairs(crops)
    together = np.concatenate([together, together[:, ::-1]])
    tracklet = crops.tracklet.to_numpy()
    time = crops.time_s.to_numpy(float)
    drawn = pd.DataFrame(rng.permutation(together), columns=["anchor", "other"])
    drawn["own"] = tracklet[drawn.anchor]
    drawn["others"] = tracklet[drawn.other]
    drawn = drawn.groupby(["own", "others"], sort=False).head(EACH).head(most)
    # The farthest crop of a tracklet is its first or its last one.
    spans = crops.groupby("tracklet").time_s.agg(first="idxmin", last="idxmax")
    first, last = (spans[name].reindex(drawn.own).to_numpy(int) for name in ("first", "last"))
    anchor = drawn.anchor.to_numpy(int)
    same = np.where(np.abs(time[first] - time[anchor]) >= np.abs(time[last] - time[anchor]), first, last)
    alone = same == anchor  # a tracklet of one crop says nothing
    return Triples(*(values[~alone] for values in (anchor, same, drawn.other.to_numpy(int), drawn.own.to_numpy())))


def right_order(features: np.ndarray, drawn: Triples) -> pd.Series:
    """For each anchor's tracklet the share of its triples that features have in the right order.

    Args:
        features: float [N, D] of unit length; row i is that of `drawn.rows[i]`.
        drawn: the triples.

    Returns:
        Share (0..1) by tracklet; a tie counts as half.
    """
    place = {row: index for index, row in enumerate(drawn.rows)}
    anchor, same, other = (
        features[[place[row] for row in rows]] for rows in (drawn.anchor, drawn.same, drawn.other)
    )  # fmt: skip
    gain = np.einsum("nd,nd->n", anchor, same) - np.einsum("nd,nd->n", anchor, other)
    right = np.where(gain > 0, 1.0, np.where(gain == 0, 0.5, 0.0))
    return pd.Series(right).groupby(drawn.tracklet).mean()
