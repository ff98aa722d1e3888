"""Identities at another confidence: as they would be if only the likelier links had been made.

Nothing is linked again. A link that was not made can only part people, so a higher confidence only
splits identities.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from cion_core.errors import CionError

NOT_KNOWN = (
    "nothing is known of how sure the links are, so they cannot be cut at a confidence: the "
    "threshold across videos was given, or there were too few tracklets to tell, or the linking "
    "rule cannot; with denoise.linking: reciprocal and denoise.separation.cross_video: auto it can"
)


@dataclass(frozen=True)
class AtConfidence:
    """Identities at a confidence.

    Args:
        labels: int64 [N], the identity of each crop; -1: none.
        merges_dropped: how many merges were left out.
        merges: of how many.
    """

    labels: np.ndarray
    merges_dropped: int
    merges: int


def identities_at(
    video_identity: np.ndarray,
    identity: np.ndarray,
    merges: np.ndarray,
    probability: np.ndarray,
    confidence: float,
) -> np.ndarray:
    """The identity of each node if only merges of at least this probability had been made.

    The part of an identity that holds the node which it is named after keeps its name; every other
    part is named after its lowest identity of level 2. At confidence 0 all is as it was.

    A merge is known by the nodes that name its two sets. So over several positions of a Sliding
    Range, and after videos were added, a likely merge with a doubtful set stays with that set's
    first node.

    Args:
        video_identity: int64 [n], the identity of level 2 of each node: nodes of one identity are
            one from the beginning.
        identity: int64 [n], of level 3.
        merges: int64 [M, 2], as `nodes.LinkRecord` has them.
        probability: float [M], that each is right.
        confidence: from 0 to 1.

    Returns:
        int64 [n].

    Raises:
        CionError: a merge's probability is not known.
    """
    if not confidence:
        return identity
    if np.isnan(probability).any():
        raise CionError(NOT_KNOWN)

    # Which nodes hang together by likely merges and by their identities of level 2.
    count = len(video_identity)
    group = np.unique(video_identity, return_inverse=True)[1]
    likely_merges = merges[probability >= confidence]
    i, j = group[likely_merges].T
    ones = np.ones(len(i), bool)
    graph = sparse.coo_matrix((ones, (i, j)), shape=(count, count))
    part_of_group = connected_components(graph, directed=False)[1]
    part = part_of_group[group]

    # What each part is called.
    part_name = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(part_name, part, video_identity)
    names_identity = video_identity == identity
    part_name[part[names_identity]] = identity[names_identity]
    return part_name[part]


def crop_identities(
    before: np.ndarray, video_identity: np.ndarray, identity: np.ndarray
) -> np.ndarray:
    """The identity of each crop, from that of level 2.

    Args:
        before: int64 [N], the identity of level 2 of each crop; -1: none.
        video_identity: int64 [n], the identity of level 2 of each node.
        identity: int64 [n], of level 3.

    Returns:
        int64 [N]; -1: none.

    Raises:
        CionError: a crop's identity is no node's.
    """
    known, first = np.unique(video_identity, return_index=True)
    rows = np.flatnonzero(before >= 0)
    wanted = before[rows]
    place = np.searchsorted(known, wanted)
    is_beyond_all = place == len(known)
    if is_beyond_all.any() or (known[place] != wanted).any():
        raise CionError(
            "identities of level 2 that level 3 did not link: they are of two runs; denoise again"
        )
    labels = np.full(len(before), -1, np.int64)
    labels[rows] = identity[first[place]]
    return labels


def read_at(path: Path, before: np.ndarray, confidence: float) -> AtConfidence:
    """The identities that come of the links in a file, at a confidence.

    Args:
        path: `links.npz`.
        before: int64 [N], the identity of level 2 of each crop; -1: none.
        confidence: from 0 to 1.

    Raises:
        CionError: the file is not there or of another version, or tells no probabilities.
    """
    wanted = ("names", "identity", "merges", "probability")
    try:
        with np.load(path) as file:
            video_identity, identity, merges, probability = (file[key] for key in wanted)
    except FileNotFoundError:
        raise CionError(
            f"{path}: no such file; denoise cross_video has not run (`dvc repro`)"
        ) from None
    except KeyError:
        raise CionError(
            f"{path}: holds no merges, so another version wrote it; denoise again"
        ) from None
    try:
        linked = identities_at(video_identity, identity, merges, probability, confidence)
        labels = crop_identities(before, video_identity, linked)
    except CionError as error:
        raise CionError(f"{path}: {error}") from None
    is_dropped = probability < confidence
    return AtConfidence(labels, int(is_dropped.sum()), len(merges))
