"""How alike rows are: by how much their k-reciprocal neighbourhoods of several sizes overlap."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from scipy import sparse

from cion_core.neighbours.arrays import sorted_unique
from cion_core.neighbours.k_reciprocal import neighbourhoods
from cion_core.neighbours.overlap import Overlap, sum_by_key
from cion_core.neighbours.search import WIDEST, cosines
from cion_core.progress import track

# Sizes of neighbourhoods, k1. The one that takes longest comes first, so that threads end together.
SCALES = (WIDEST, 12, 8)
# A smaller mean overlap of two neighbourhoods counts as none.
LEAST_OVERLAP = 0.02
# Rows that come later are compared only if their smallest neighbourhoods overlap by this much.
TOUCH = 0.05
# The share of the cosine in the similarity of two rows whose neighbourhoods meet.
COSINE_SHARE = 0.2
# A progress bar is shown from so many blocks on.
BLOCKS_FOR_A_BAR = 200


def similarity(
    points: np.ndarray,
    nearest: np.ndarray,
    rows: np.ndarray | None = None,
    compared: int | None = None,
) -> sparse.csr_matrix:
    """Mean Jaccard similarity over neighbourhoods of several SCALES, mixed with the cosine.

    How often a person was seen is not known, and one size of neighbourhood suits few: in a small
    one people seen often fall apart, in a large one those seen rarely drown. The cosine orders what
    neighbourhoods find equal (Zhong et al., equation 12). Rows that point apart (cosine 0 or less:
    with the mean taken off, nothing in common) have no similarity, however few others there are.

    Args:
        points: float32 [n, D], unit length.
        nearest: int32 [n, k+1], as `search.neighbours` gives it, of max(SCALES).
        rows: compare these rows alone; None: all.
        compared: compare only the first so many of `rows` with all of `rows`; None: all with all.

    Returns:
        float32 [n, n] or [len(rows), len(rows)], symmetric, no row with itself.
    """
    own = points if rows is None else points[rows]
    scales = neighbourhood_sizes(len(points))
    if not scales:
        return sparse.csr_matrix((len(own), len(own)), dtype=np.float32)

    def compare_at(scale: tuple[int, int]) -> Overlap:
        return Overlap(neighbourhoods(points, nearest, *scale, rows))

    # Threads help, as NumPy and SciPy let go of the interpreter in what takes time.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        overlaps = list(pool.map(compare_at, scales))
        blocks = overlaps[0].blocks(compared)
        mixed = pool.map(partial(_mixed_similarity, own, overlaps), blocks)
        if len(blocks) > BLOCKS_FOR_A_BAR:
            mixed = track(mixed, "similarities", "block", len(blocks))
        i, j, values = (np.concatenate(column) for column in zip(*mixed, strict=True))
    return _symmetric(i, j, values, len(own))


def neighbourhood_sizes(count: int) -> list[tuple[int, int]]:
    """k1 and k2 of each scale for `count` rows.

    Returns:
        One pair a scale; none for two rows or fewer, of which each is the other's nearest whatever
        they look like.
    """
    if count <= 2:
        return []
    sizes = []
    for scale in SCALES:
        k1 = max(1, min(scale, count // 4))
        k2 = max(2, round(k1 / 3.5))
        sizes.append((k1, min(count, k2)))
    return sizes


def _mixed_similarity(
    points: np.ndarray, overlaps: list[Overlap], block: slice
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`similarity` of a block's rows to those behind them: first rows, second rows, values."""
    found = [overlap.of(block) for overlap in overlaps]
    keys, jaccard = (np.concatenate(column) for column in zip(*found, strict=True))
    keys, total = sum_by_key(keys, jaccard)
    mean = total / np.float32(len(overlaps))

    met = mean >= LEAST_OVERLAP
    i, j = overlaps[0].rows_of(block, keys[met])
    overlap_share = 1 - COSINE_SHARE
    cosine = cosines(points, i, j)
    mixed = overlap_share * mean[met] + COSINE_SHARE * cosine
    alike = cosine > 0
    return i[alike], j[alike], mixed[alike]


def _symmetric(i: np.ndarray, j: np.ndarray, values: np.ndarray, count: int) -> sparse.csr_matrix:
    """The values of pairs i, j both ways, [count, count]."""
    rows, columns = np.concatenate([i, j]), np.concatenate([j, i])
    values = np.concatenate([values, values])
    return sparse.csr_matrix((values, (rows, columns)), (count, count))


def find_similar(
    points: np.ndarray, nearest: np.ndarray, rows: np.ndarray, least: float
) -> np.ndarray:
    """Find the other rows that are similar to any of `rows` by at least `least`.

    Only candidates are compared: those in the middle neighbourhood of one of `rows`, whose smallest
    neighbourhood overlaps one of theirs by TOUCH.

    Args:
        points: float32 [n, D], unit length.
        nearest: int32 [n, k+1], as for `similarity`.
        rows: int, whose likes are looked for.
        least: the similarity that is asked for, 0..1.

    Returns:
        Rows that are not in `rows`, sorted, each once.
    """
    if len(points) <= 2:
        return np.empty(0, np.int32)
    _, middle, smallest = neighbourhood_sizes(len(points))

    # Step 1: who is in the middle neighbourhoods.
    around = neighbourhoods(points, nearest, *middle, rows).indices
    candidates = np.setdiff1d(around, rows)

    # Step 2: whose smallest neighbourhoods touch. Candidates stand behind the rows.
    both = np.concatenate([rows, candidates])
    overlap = Overlap(neighbourhoods(points, nearest, *smallest, both))
    count = len(rows)
    _, met, shared = overlap.pairs(count)
    touching = met[shared >= TOUCH]
    candidates = candidates[_places_behind(touching, count)]

    # Step 3: who is similar enough.
    both = np.concatenate([rows, candidates])
    graph = similarity(points, nearest, both, count)[:count].tocoo()
    similar = graph.col[graph.data >= least]
    return candidates[_places_behind(similar, count)]


def _places_behind(places: np.ndarray, count: int) -> np.ndarray:
    """Of places, those behind the first `count`, counted from there, sorted, each once."""
    return sorted_unique(places[places >= count]) - count
