"""How much more alike two identities of one video are than strangers in it.

A video's people share place, light and hour, so that a cosine says little by itself: what is high
in one video is common in another. Here the video's mean is taken off, and of each cosine what the
two have in common with anybody (cross-domain similarity local scaling: Conneau et al., ICLR 2018).
A tracker that loses a person mostly finds them again soon, and the centroids of few crops are less
alike than those of many: both are credited.
"""

from __future__ import annotations

import numpy as np

from cion_core.neighbours.arrays import unit

# Chosen on half of the people of the real development set (docs/results.md), and looked at on all:
# purity at a given recall of the merges.

# The mean of few identities is those identities: as if so many more sat at zero.
SHRINK = 5.0
# The nearest others, and the share of the likeness to them that is taken off.
NEAREST, TAKEN = 5, 0.75
# The credit for each e-fold by which a gap is shorter than the video; gaps below this share of it
# are equal.
SOON, SHORTEST_GAP = 0.03, 1e-3
# The credit of one crop; of n crops an nth.
FEW = 0.05


def distances(
    centres: np.ndarray, sizes: np.ndarray, first: np.ndarray, last: np.ndarray
) -> np.ndarray:
    """1 - contrast of each two identities of one video.

    Two alone have nobody to stand out from, and are far apart. Time gives no credit to identities
    that overlap in it.

    Args:
        centres: float32 [n, D], unit length.
        sizes: int [n], how many crops each has.
        first: int [n], the first frame of each.
        last: int [n], the last frame of each.

    Returns:
        float32 [n, n], symmetric; infinite on the diagonal.
    """
    count = len(centres)
    if count < 2:
        return np.full((count, count), np.inf, np.float32)
    mean = centres.sum(0) / np.float32(count + SHRINK)
    points = unit(centres - mean)
    cosine = points @ points.T
    np.fill_diagonal(cosine, -np.inf)

    # What each has in common with anybody: its mean cosine with the nearest others.
    others = min(NEAREST, count - 1)
    nearest = np.partition(cosine, count - others, axis=1)[:, count - others :]
    common = nearest.mean(1)

    # How soon one follows the other, as a share of the video; an overlap counts as all of it.
    gap = np.maximum(first[:, None] - last, first - last[:, None])
    span = last.max() - first.min() + 1
    frames_waited = np.where(gap < 0, span, gap + 1)
    waited = np.clip(frames_waited / span, SHORTEST_GAP, 1)
    soon = -np.log(waited)

    few = 1 / sizes
    taken_off = TAKEN / 2 * (common[:, None] + common)
    credit_of_few = FEW * (few[:, None] + few)
    contrast = cosine - taken_off + SOON * soon + credit_of_few
    return (1 - contrast).astype(np.float32)
