"""How much more alike two identities of one video are than strangers in it.

A video's people share place, light and hour, so that a cosine says little by itself: what is high in one video is
common in another. Here the video's mean is taken off, and of each cosine what the two have in common with anybody
(cross-domain similarity local scaling: Conneau et al., ICLR 2018). A tracker that loses a person mostly finds them
again soon, and the centroids of few crops are less alike than those of many: both are credited.
"""

from __future__ import annotations

import numpy as np

from cion_core.neighbours.arrays import unit

# Chosen on half of the people of ../shared/data, and looked at on all: purity at a given recall of the merges.
SHRINK = 5.0  # the mean of few identities is those identities: as if so many more sat at zero
CROWD, TAKEN = 5, 0.75  # the nearest others, and the share of the likeness to them that is taken off
SOON, LEAST = 0.03, 1e-3  # credit for each e-fold by which a gap is shorter than the video; shorter ones are equal
FEW = 0.05  # credit of one crop; of n crops an nth


def distances(centres: np.ndarray, crops: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """1 - contrast of each two identities of one video, float32 [n, n], symmetric; infinite on the diagonal.

    centres float32 [n, D] of unit length; crops int [n]: how many each has; first, last int [n]: frames. Two alone have
    nobody to stand out from, and are far apart. Time gives no credit to identities that overlap in it.
    """
    n = len(centres)
    if n < 2:
        return np.full((n, n), np.inf, np.float32)
    points = unit(centres - centres.sum(0) / np.float32(n + SHRINK))
    cosine = points @ points.T
    np.fill_diagonal(cosine, -np.inf)
    k = min(CROWD, n - 1)
    common = np.partition(cosine, n - k, axis=1)[:, n - k :].mean(1)
    gap = np.maximum(first[:, None] - last, first - last[:, None])
    span = last.max() - first.min() + 1
    soon = -np.log(np.clip(np.where(gap < 0, span, gap + 1) / span, LEAST, 1))
    few = 1 / crops
    contrast = cosine - TAKEN / 2 * (common[:, None] + common) + SOON * soon + FEW * (few[:, None] + few)
    return (1 - contrast).astype(np.float32)
