"""Who cannot be one person: two crops of one frame of one video."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from cion_core.denoise.checks import BOXES
from cion_core.neighbours.arrays import group_blocks, sorted_unique

# Pairs that are worked on together.
BLOCK = 1 << 20
# Boxes that overlap by more than this IoU are one detection twice.
DUPLICATE = 0.7


def crop_pairs(crops: pd.DataFrame, cannot_link: bool = True) -> np.ndarray:
    """Find the pairs of crops that show different people.

    Same video, same frame, different tracklets, and, where boxes are given, IoU of at most
    DUPLICATE.

    Args:
        crops: with video, frame, tracklet, and boxes x1 y1 x2 y2 if there are any.
        cannot_link: False: no pairs.

    Returns:
        Rows of `crops`, int64 [P, 2].
    """
    pairs = [np.empty((0, 2), np.int64)]
    if cannot_link:
        videos = pd.factorize(crops.video)[0]
        for rows in group_blocks(videos):
            places = _pairs_of_frames(crops.iloc[rows])
            pairs.append(rows[places])
    return np.concatenate(pairs)


def _pairs_of_frames(crops: pd.DataFrame) -> np.ndarray:
    """`crop_pairs` of a few videos.

    With rows in the order of frames, the crops of a frame stand one behind another. So each row is
    paired with the next, then with the next but one, and so on, while both are of one frame.
    """
    video = pd.factorize(crops.video)[0]
    frame = crops.frame.to_numpy(np.int64)
    order = np.lexsort((frame, video))
    video, frame = video[order], frame[order]

    found = [np.empty((0, 2), np.int64)]
    place = np.arange(len(order))
    for shift in range(1, len(order)):
        place = place[place < len(order) - shift]
        partner = place + shift
        same_video = video[place] == video[partner]
        same_frame = frame[place] == frame[partner]
        is_pair = same_video & same_frame
        place, partner = place[is_pair], partner[is_pair]
        if not len(place):
            break
        found.append(np.stack([order[place], order[partner]], 1))
    pairs = np.concatenate(found)

    tracklet = crops.tracklet.to_numpy()
    one, other = pairs.T
    pairs = pairs[tracklet[one] != tracklet[other]]
    if set(BOXES) <= set(crops.columns):
        boxes = crops[list(BOXES)].to_numpy(float)
        one, other = pairs.T
        overlap = iou(boxes[one], boxes[other])
        pairs = pairs[overlap <= DUPLICATE]
    return pairs


def iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes [..., 4] = x1 y1 x2 y2, row by row (or broadcast)."""
    low = np.maximum(one[..., :2], other[..., :2])
    high = np.minimum(one[..., 2:], other[..., 2:])
    shared_sides = np.clip(high - low, 0, None)
    shared = np.prod(shared_sides, -1)
    area = np.prod(one[..., 2:] - one[..., :2], -1)
    other_area = np.prod(other[..., 2:] - other[..., :2], -1)
    union = area + other_area - shared
    return shared / np.maximum(union, 1e-9)


def most_common_labels(tracklets: np.ndarray, labels: np.ndarray) -> pd.Series:
    """The identity (label) that most crops of each tracklet have; ties go to the lower.

    Args:
        tracklets: int64 [N].
        labels: int64 [N], the identity of each crop; -1: none.

    Returns:
        Identities, indexed by tracklet; -1 where no crop has one.
    """
    numbers, groups = np.unique(tracklets, return_inverse=True)
    identities, member = np.unique(labels, return_inverse=True)

    # A vote for each pair of a tracklet and an identity.
    width = max(len(identities), 1)
    cells, votes = np.unique(groups * width + member, return_counts=True)
    tracklet, place = np.divmod(cells, width)
    identity = identities[place]
    # Crops without an identity do not vote where any has one.
    votes[identity < 0] = 0
    order = np.lexsort((place, -votes, tracklet))
    first_of_each = np.flatnonzero(np.diff(tracklet[order], prepend=-1))
    most = order[first_of_each]
    return pd.Series(identity[most], pd.Index(numbers, name="tracklet"), name="label")


def forbidden_pairs(
    crops: pd.DataFrame, labels: np.ndarray, pairs: np.ndarray
) -> sparse.csr_matrix:
    """Which pairs of identities are forbidden: they can never be one.

    A pair is forbidden when two crops of `pairs` speak for its two identities. A crop speaks for
    its own identity. One that was dropped speaks for the identity that most of its tracklet's crops
    have, so that people once seen together stay apart even where those crops were dropped. A crop
    that was moved out of its tracklet, or cut off with a part of it, says nothing of the rest.

    Args:
        crops: with tracklet.
        labels: int64 [N], the identity of each crop; -1: none.
        pairs: int64 [P, 2], rows that show different people.

    Returns:
        bool [n, n], symmetric, over the sorted identities of `labels`.
    """
    identities = np.unique(labels[labels >= 0])
    count = len(identities)
    i, j = forbidden_places(crops.tracklet.to_numpy(), labels, pairs, identities)
    ones = np.ones(len(i), bool)
    return sparse.csr_matrix((ones, (i, j)), shape=(count, count))


def forbidden_places(
    tracklets: np.ndarray, labels: np.ndarray, pairs: np.ndarray, identities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`forbidden_pairs` as two columns, each pair both ways, once.

    Args:
        tracklets: int64 [N].
        labels: int64 [N], -1: none.
        pairs: int64 [P, 2], rows that show different people.
        identities: int64 [n], sorted.

    Returns:
        i and j, int64 [M] each: places in `identities`.
    """
    of_tracklet = most_common_labels(tracklets, labels).reindex(tracklets).to_numpy()
    speaks_for = np.where(labels < 0, of_tracklet, labels)
    place = np.where(speaks_for < 0, -1, np.searchsorted(identities, speaks_for))

    # A pair of places is one number, low * n + high, so that each is kept once.
    count = max(len(identities), 1)
    keys = [np.empty(0, np.int64)]
    for some in np.array_split(pairs, len(pairs) // BLOCK + 1):
        one, other = place[some].T
        low, high = np.minimum(one, other), np.maximum(one, other)
        both_speak = low >= 0
        keys.append(sorted_unique((low * count + high)[both_speak]))
    all_keys = sorted_unique(np.concatenate(keys))
    i, j = np.divmod(all_keys, count)
    differ = i != j
    i, j = i[differ], j[differ]
    return np.concatenate([i, j]), np.concatenate([j, i])
