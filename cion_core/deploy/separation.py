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

# Triples of one pair of tracklets, at most: neighbouring frames say the same.
TRIPLES_OF_PAIR = 4


@dataclass(frozen=True)
class Triples:
    """Triples of crops, as rows of the table of crops; int [T] each.

    Attributes:
        anchor: a crop.
        same: another crop of the anchor's tracklet.
        other: a crop of somebody who was seen beside the anchor, in the same frame.
        tracklet: the anchor's tracklet.
    """

    anchor: np.ndarray
    same: np.ndarray
    other: np.ndarray
    tracklet: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """The rows of crops that are needed, each once, sorted."""
        return np.unique(np.concatenate([self.anchor, self.same, self.other]))


def draw_triples(crops: pd.DataFrame, most: int = 2000, seed: int = 0) -> Triples:
    """Draw triples of a table of crops.

    Args:
        crops: video, frame, time_s, tracklet, and boxes if there are any (see `crop_pairs`); a row
            each.
        most: triples, at most.
        seed: of the draw.

    Returns:
        Of each two tracklets that were seen together up to `TRIPLES_OF_PAIR` triples; none where no
        two were. `same` is the crop of the anchor's tracklet that is farthest from it in time.
    """
    crops = crops.reset_index(drop=True)
    tracklet = crops.tracklet.to_numpy()

    # 1. Draw pairs of crops that were seen together, each of the two once as the anchor.
    pairs = crop_pairs(crops)
    both_ways = np.concatenate([pairs, pairs[:, ::-1]])
    rng = np.random.default_rng(seed)
    drawn = pd.DataFrame(rng.permutation(both_ways), columns=["anchor", "other"])
    drawn["anchor_tracklet"] = tracklet[drawn.anchor]
    drawn["other_tracklet"] = tracklet[drawn.other]
    by_tracklets = drawn.groupby(["anchor_tracklet", "other_tracklet"], sort=False)
    drawn = by_tracklets.head(TRIPLES_OF_PAIR).head(most)

    # 2. Find the farthest crop of the anchor's tracklet, which is its first or its last one.
    times_of_tracklet = crops.groupby("tracklet").time_s
    first = times_of_tracklet.idxmin().reindex(drawn.anchor_tracklet).to_numpy(int)
    last = times_of_tracklet.idxmax().reindex(drawn.anchor_tracklet).to_numpy(int)
    time = crops.time_s.to_numpy(float)
    anchor = drawn.anchor.to_numpy(int)
    since_first = np.abs(time[first] - time[anchor])
    until_last = np.abs(time[last] - time[anchor])
    same = np.where(since_first >= until_last, first, last)

    # 3. Leave out tracklets of one crop, where the farthest is the anchor itself.
    kept = same != anchor
    other = drawn.other.to_numpy(int)
    anchor_tracklet = drawn.anchor_tracklet.to_numpy()
    return Triples(anchor[kept], same[kept], other[kept], anchor_tracklet[kept])


def share_in_right_order(features: np.ndarray, triples: Triples) -> pd.Series:
    """For each anchor's tracklet the share of its triples that features have in the right order.

    Args:
        features: float [N, D] of unit length; row i is that of `triples.rows[i]`.
        triples: the triples.

    Returns:
        Share (0..1) by tracklet; a tie counts as half.
    """
    rows = triples.rows
    anchor = features[np.searchsorted(rows, triples.anchor)]
    same = features[np.searchsorted(rows, triples.same)]
    other = features[np.searchsorted(rows, triples.other)]
    similarity_to_same = np.einsum("nd,nd->n", anchor, same)
    similarity_to_other = np.einsum("nd,nd->n", anchor, other)
    # 1 where the own tracklet is nearer, 0.5 at a tie, 0 where the other is.
    right = 0.5 + 0.5 * np.sign(similarity_to_same - similarity_to_other)
    return pd.Series(right).groupby(triples.tracklet).mean()
