"""Identities at another confidence: what is left of them when only their surer links had been made.

Nothing is linked again. A link that was not made can only part people, so a higher confidence only splits identities.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from cion_core.errors import CionError

UNTOLD = (
    "nothing is known of how sure the links are, so they cannot be cut at a confidence: the threshold across videos "
    "was given, or there were too few tracklets to tell, or the linking rule cannot; with denoise.linking: "
    "reciprocal and denoise.separation.cross_video: auto it can"
)


@dataclass(frozen=True)
class Cut:
    """labels int64 [N]: the identity of each crop, -1: none; cut, links: how many merges were left out, of how many."""

    labels: np.ndarray
    cut: int
    links: int


def cut(
    names: np.ndarray, identity: np.ndarray, merges: np.ndarray, probability: np.ndarray, confidence: float
) -> np.ndarray:
    """The identity of each of n nodes if only merges of at least this probability had been made, int64 [n].

    names, identity int64 [n], merges int64 [M, 2], probability float [M]: as `nodes.Links` has them. Nodes of one name
    are one from the beginning. The part of an identity in which the node is that it is named after keeps its name,
    every other is named after its lowest; at confidence 0 all is as it was. A merge is known by the nodes that name its
    two sets: over several positions of a Sliding Range, and after videos were added, a sure merge with a doubtful set
    stays with that set's first node. Raises CionError if a merge's probability
    is not known.
    """
    if not confidence:
        return identity
    if np.isnan(probability).any():
        raise CionError(UNTOLD)
    n = len(names)
    group = np.unique(names, return_inverse=True)[1]
    i, j = group[merges[probability >= confidence]].T
    part = connected_components(sparse.coo_matrix((np.ones(len(i), bool), (i, j)), shape=(n, n)), directed=False)[1]
    part = part[group]
    name = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(name, part, names)
    keeps = names == identity
    name[part[keeps]] = identity[keeps]
    return name[part]


def of_crops(before: np.ndarray, names: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """The identity of each crop, int64 [N], from that of level 2, int64 [N], -1: none; names, identity as for `cut`."""
    known, first = np.unique(names, return_index=True)
    out, rows = np.full(len(before), -1, np.int64), np.flatnonzero(before >= 0)
    place = np.searchsorted(known, before[rows])
    if (place == len(known)).any() or (known[place] != before[rows]).any():
        raise CionError("identities of level 2 that level 3 did not link: they are of two runs; denoise again")
    out[rows] = identity[first[place]]
    return out


def recut(path: Path, before: np.ndarray, confidence: float) -> Cut:
    """What `links.npz` at `path` makes of identities of level 2, int64 [N], -1: none, at this confidence.

    Raises CionError where the file is not there or not of this version, or tells no probabilities.
    """
    try:
        with np.load(path) as file:
            names, identity, merges, probability = (file[key] for key in ("names", "identity", "merges", "probability"))
    except FileNotFoundError:
        raise CionError(f"{path}: no such file; denoise cross_video has not run (`dvc repro`)") from None
    except KeyError:
        raise CionError(f"{path}: holds no merges, so another version wrote it; denoise again") from None
    try:
        labels = of_crops(before, names, cut(names, identity, merges, probability, confidence))
    except CionError as error:
        raise CionError(f"{path}: {error}") from None
    return Cut(labels, int((probability < confidence).sum()), len(merges))
