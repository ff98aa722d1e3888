"""k-reciprocal re-ranking against the paper, set by set."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cion_core.evaluate.rerank import Reranked
from cion_core.neighbours import overlap


def unit(rng: np.random.Generator, n: int, width: int = 6) -> np.ndarray:
    x = rng.standard_normal((n, width)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def slow(query: np.ndarray, gallery: np.ndarray, k1: int, k2: int, original: float) -> np.ndarray:
    """Zhong et al. 2017, §3.2 to §3.5, with Python sets; an image is its own first neighbour."""
    x = np.concatenate((query, gallery)).astype(np.float64)
    n, d = len(x), 1 - x @ x.T

    def nearest(p: int, k: int) -> list[int]:
        others = sorted((i for i in range(n) if i != p), key=lambda i: d[p, i])
        return [p, *others[: k - 1]]

    def reciprocal(p: int, k: int) -> set[int]:
        return {g for g in nearest(p, k + 1) if p in nearest(g, k + 1)}

    vectors = np.zeros((n, n))
    for p in range(n):
        base = reciprocal(p, k1)
        members = set(base)
        for q in base:
            more = reciprocal(q, round(k1 / 2))
            if len(base & more) >= 2 / 3 * len(more):
                members |= more
        for g in members:
            vectors[p, g] = math.exp(-d[p, g])
    expanded = np.array([np.mean([vectors[g] for g in nearest(p, k2)], axis=0) for p in range(n)])
    result = np.zeros((len(query), len(gallery)))
    for i in range(len(query)):
        for j in range(len(gallery)):
            a, b = expanded[i], expanded[len(query) + j]
            jaccard = 1 - np.minimum(a, b).sum() / np.maximum(a, b).sum()
            result[i, j] = (1 - original) * jaccard + original * d[i, len(query) + j]
    return result


@pytest.mark.parametrize(
    ("k1", "k2", "original"), [(6, 3, 0.3), (5, 1, 0.0), (20, 6, 0.3), (3, 2, 1.0), (60, 6, 0.3)]
)
def test_reranking_equals_the_paper(k1: int, k2: int, original: float) -> None:
    rng = np.random.default_rng(k1)
    query, gallery = unit(rng, 8), unit(rng, 30)
    assert np.allclose(
        Reranked(query, gallery, k1, k2, original)[:],
        slow(query, gallery, k1, k2, original),
        atol=1e-5,
    )


def test_some_queries_are_reranked_as_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices and rows of any order, in parts so small that a query is one."""
    rng = np.random.default_rng(0)
    query, gallery = unit(rng, 9), unit(rng, 25)
    whole = slow(query, gallery, 6, 3, 0.3)
    for joins in (overlap.ADDITIONS, 30):
        monkeypatch.setattr(overlap, "ADDITIONS", joins)
        reranked = Reranked(query, gallery, 6, 3)
        for rows in (
            slice(0, 9),
            slice(4, 7),
            slice(2, 2),
            np.array([3]),
            np.array([7, 8, 0, 2, 3, 4, 1]),
        ):
            np.testing.assert_allclose(reranked[rows], whole[rows], atol=1e-5)


def test_equal_features_are_at_no_distance() -> None:
    """Copies of two opposite images: distance 0 within, the largest across."""
    x = np.repeat(np.array([[1, 0], [-1, 0]], np.float32), 3, axis=0)
    got = Reranked(x[[0, 3]], x, k1=3, k2=1)[:]
    assert np.allclose(got[0, :3], 0, atol=1e-6) and np.allclose(
        got[0, 3:], 0.7 * 1 + 0.3 * 2, atol=1e-6
    )


def test_a_near_image_that_does_not_return_the_favour_falls_back() -> None:
    """A circle: the query at 0, its person at 0.3 to 0.4, a stranger with a crowd at -0.25."""
    angle = np.concatenate(([0], np.linspace(0.3, 0.4, 8), [-0.25], np.linspace(-0.5, -0.45, 30)))
    x = np.stack((np.cos(angle), np.sin(angle)), axis=1).astype(np.float32)
    plain, better = 1 - x[:1] @ x[1:].T, Reranked(x[:1], x[1:], k1=10, k2=3)[:]
    person, stranger = slice(0, 8), 8
    assert plain[0, stranger] < plain[0, person].min()
    assert better[0, stranger] > better[0, person].max()
