"""Belief in links: which pairs merges put together, against keeping every cluster as a set."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from cion_core.denoise.linking import agglomeration, belief


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 24), st.integers(1, 24))
def test_linked_pairs_are_those_of_clusters_kept_as_sets(seed: int, n: int, sets: int) -> None:
    """From sets to begin with, whose own pairs are no links; of large merges pairs stand for others."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((n, n)), 1)
    videos, start = rng.integers(0, 3, n), agglomeration.lowest(rng.integers(0, sets, n))
    _, merges = agglomeration.average(sparse.csr_matrix(upper + upper.T), 0.3, start=start)
    clusters, every, weight = {node: set(np.flatnonzero(start == node)) for node in set(start)}, {}, Counter()
    for a, b, level in merges:
        first, second = clusters[a], clusters.pop(b)
        every |= {(i, j): level for i in first for j in second if videos[i] != videos[j]}
        weight[level] += len(first) * len(second)
        clusters[a] = first | second
    i, j, level, worth = belief.linked(merges, videos, start)
    found = list(zip(i.tolist(), j.tolist(), strict=True))
    assert all(every[pair] == at for pair, at in zip(found, level.tolist(), strict=True))
    small = {at for at, pairs in weight.items() if pairs <= belief.EACH}
    one = [(pair, at) for pair, at, of in zip(found, level.tolist(), worth.tolist(), strict=True) if at in small]
    assert sorted(one) == sorted((pair, at) for pair, at in every.items() if at in small)
    assert (worth[np.isin(level, list(small))] == 1).all()
    assert all(of == weight[at] / belief.EACH for at, of in zip(level, worth, strict=True) if at not in small)
