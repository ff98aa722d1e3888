"""Who cannot be one person: two crops of one frame of one video."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from cion_core.neighbours.arrays import group_blocks, sorted_unique

BLOCK = 1 << 20  # pairs worked on together
DUPLICATE = 0.7  # boxes that overlap by more than this IoU are one detection twice


def crop_pairs(crops: pd.DataFrame, cannot: bool = True) -> np.ndarray:
    """Row pairs of `crops` that show different people, int64 [P, 2]; none if not `cannot`.

    Same video, same frame, different tracklets, and, where boxes x1 y1 x2 y2 are given, IoU of at most 0.7.
    """
    blocks = group_blocks(pd.factorize(crops.video)[0]) if cannot else []
    return np.concatenate([np.empty((0, 2), np.int64), *(rows[_together(crops.iloc[rows])] for rows in blocks)])


def _together(crops: pd.DataFrame) -> np.ndarray:
    """`crop_pairs` of a few videos."""
    video, frame = pd.factorize(crops.video)[0], crops.frame.to_numpy(np.int64)
    order = np.lexsort((frame, video))
    video, frame = video[order], frame[order]
    found = [np.empty((0, 2), np.int64)]
    start = np.arange(len(order))  # places in that order whose next `shift` are of the same frame, too
    for shift in range(1, len(order)):
        start = start[start < len(order) - shift]
        start = start[(video[start] == video[start + shift]) & (frame[start] == frame[start + shift])]
        if not len(start):
            break
        found.append(np.stack([order[start], order[start + shift]], 1))
    pairs = np.concatenate(found)
    tracklet = crops.tracklet.to_numpy()
    pairs = pairs[tracklet[pairs[:, 0]] != tracklet[pairs[:, 1]]]
    if {"x1", "y1", "x2", "y2"} <= set(crops.columns):
        boxes = crops[["x1", "y1", "x2", "y2"]].to_numpy(float)
        pairs = pairs[iou(boxes[pairs[:, 0]], boxes[pairs[:, 1]]) <= DUPLICATE]
    return pairs


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes [..., 4] = x1 y1 x2 y2, row by row (or broadcast)."""
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    shared = np.prod(np.clip(high - low, 0, None), -1)
    areas = np.prod(a[..., 2:] - a[..., :2], -1) + np.prod(b[..., 2:] - b[..., :2], -1)
    return shared / np.maximum(areas - shared, 1e-9)


def homes(tracklets: np.ndarray, labels: np.ndarray) -> pd.Series:
    """The identity that holds most of each tracklet's crops (ties: the lower), indexed by tracklet; -1: none."""
    numbers, groups = np.unique(tracklets, return_inverse=True)
    names, member = np.unique(labels, return_inverse=True)
    cells, votes = np.unique(groups * len(names) + member, return_counts=True)
    owner, name = np.divmod(cells, max(len(names), 1))
    votes[names[name] < 0] = 0  # crops without an identity do not vote where any has one
    order = np.lexsort((name, -votes, owner))
    most = order[np.flatnonzero(np.diff(owner[order], prepend=-1))]
    return pd.Series(names[name[most]], pd.Index(numbers, name="tracklet"), name="label")


def between(crops: pd.DataFrame, labels: np.ndarray, pairs: np.ndarray) -> sparse.csr_matrix:
    """Which identities can never be one: symmetric bool [n, n] over the sorted identities of `labels`.

    Two identities exclude each other when two crops of `pairs` speak for them: each for its own identity, but one that
    was dropped for the home of its tracklet (so that people once seen together stay apart even where those crops
    were dropped). A crop that was moved out of its tracklet, or cut off with a part of it, says nothing of the rest.
    """
    names = np.unique(labels[labels >= 0])
    i, j = apart(crops.tracklet.to_numpy(), labels, pairs, names)
    return sparse.csr_matrix((np.ones(len(i), bool), (i, j)), shape=(len(names), len(names)))


def apart(
    tracklets: np.ndarray, labels: np.ndarray, pairs: np.ndarray, names: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`between` as places i, j in the sorted identities `names`, each pair both ways, once."""
    at_home = homes(tracklets, labels).reindex(tracklets).to_numpy()
    of = np.where(labels < 0, at_home, labels)
    place = np.where(of < 0, -1, np.searchsorted(names, of))
    keys = [np.empty(0, np.int64)]
    for some in np.array_split(pairs, len(pairs) // BLOCK + 1):
        one, other = place[some].T
        low, high = np.minimum(one, other), np.maximum(one, other)
        keys.append(sorted_unique((low * len(names) + high)[low >= 0]))
    i, j = np.divmod(sorted_unique(np.concatenate(keys)), max(len(names), 1))
    i, j = i[i != j], j[i != j]
    return np.concatenate([i, j]), np.concatenate([j, i])
