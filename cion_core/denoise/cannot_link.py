"""Who cannot be one person: two crops of one frame of one video (DESIGN §4)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

DUPLICATE = 0.7  # boxes that overlap by more than this IoU are one detection twice


def crop_pairs(crops: pd.DataFrame) -> np.ndarray:
    """Row pairs of `crops` that show different people, int64 [P, 2].

    Same video, same frame, different tracklets, and, where boxes x1 y1 x2 y2 are given, IoU of at most 0.7.
    """
    video = pd.factorize(crops.video)[0].astype(np.int64)
    frame = crops.frame.to_numpy(np.int64)
    order = np.lexsort((frame, video))
    found = [np.empty((0, 2), np.int64)]
    for shift in range(1, len(order)):
        a, b = order[:-shift], order[shift:]
        together = (video[a] == video[b]) & (frame[a] == frame[b])
        if not together.any():
            break
        found.append(np.stack([a[together], b[together]], 1))
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
    counts = pd.DataFrame({"tracklet": tracklets, "label": labels}).value_counts().rename("n").reset_index()
    counts["lost"] = counts.label < 0  # crops without an identity do not vote where any has one
    counts = counts.sort_values(["tracklet", "lost", "n", "label"], ascending=[True, True, False, True])
    return counts.drop_duplicates("tracklet").set_index("tracklet").label


def between(crops: pd.DataFrame, labels: np.ndarray, pairs: np.ndarray) -> sparse.csr_matrix:
    """Which identities can never be one: symmetric bool [n, n] over the sorted identities of `labels`.

    Two identities exclude each other when they hold two crops of `pairs`, or the homes of two tracklets of `pairs`
    (so that people once seen together stay apart even where those crops were dropped, while a crop that was moved
    out of its tracklet speaks for itself alone).
    """
    names = np.unique(labels[labels >= 0])
    tracklets = crops.tracklet.to_numpy()
    home = homes(tracklets, labels).reindex(tracklets).to_numpy()
    sides = np.concatenate([labels[pairs], home[pairs]])
    sides = sides[(sides >= 0).all(1)]
    i, j = np.searchsorted(names, sides).T if len(sides) else np.empty((2, 0), int)
    apart = i != j
    i, j = np.concatenate([i[apart], j[apart]]), np.concatenate([j[apart], i[apart]])
    return sparse.csr_matrix((np.ones(len(i), bool), (i, j)), shape=(len(names), len(names)))
