"""CMC, mAP and mINP against hand-computed cases and a literal reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.benchmark.labels import Labels, findable
from cion_core.evaluate import metrics, tensors
from cion_core.evaluate.metrics import Scores, join_scores, rank_gallery, score
from cion_core.evaluate.protocol import Distances, ranked_lists, sample_queries, score_queries


def labels(*pairs: tuple[int, int]) -> Labels:
    person, camera = zip(*pairs, strict=True)
    return Labels(np.array(person), np.array(camera))


def slow(
    distance: np.ndarray, query: Labels, gallery: Labels
) -> list[tuple[float, float, int] | None]:
    """The protocol, one query and one image at a time: (ap, inp, first), None where excluded."""
    results: list[tuple[float, float, int] | None] = []
    for q in range(len(query)):
        hits, place, precisions, first = 0, 0, [], 0
        for g in sorted(range(len(gallery)), key=lambda g: (distance[q, g], g)):
            same = gallery.person[g] == query.person[q]
            if gallery.person[g] == -1 or (same and gallery.camera[g] == query.camera[q]):
                continue
            place += 1
            if same and gallery.person[g] > 0:
                hits += 1
                precisions.append(hits / place)
                first = first or place
                last = place
        results.append((sum(precisions) / hits, hits / last, first) if hits else None)
    return results


@st.composite
def retrievals(draw: st.DrawFn) -> tuple[np.ndarray, Labels, Labels]:
    """Distances on a coarse grid (many ties), persons from junk upwards, few cameras."""
    nq, ng = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    query = Labels(rng.integers(0, 4, nq), rng.integers(1, 4, nq))
    gallery = Labels(rng.integers(-1, 4, ng), rng.integers(1, 4, ng))
    return rng.integers(0, 5, (nq, ng)) / 4, query, gallery


@settings(max_examples=200, deadline=None)
@given(retrievals())
def test_scores_equal_the_reference(case: tuple[np.ndarray, Labels, Labels]) -> None:
    distance, query, gallery = case
    got = score(distance, query, gallery)
    for i, wanted in enumerate(slow(distance, query, gallery)):
        if wanted is None:
            assert np.isnan(got.ap[i]) and np.isnan(got.inp[i]) and got.first[i] == 0
        else:
            assert (got.ap[i], got.inp[i], got.first[i]) == pytest.approx(wanted)
    assert np.array_equal(got.valid, findable(query, gallery))


@settings(max_examples=100, deadline=None)
@given(retrievals(), st.integers(1, 4))
def test_ranks_equal_those_of_the_sorted_gallery(
    case: tuple[np.ndarray, Labels, Labels], piece: int
) -> None:
    """`score` looks right images up, `rank` sorts every image.

    Their ranks are the same, ties and removals included.
    """
    distance, query, gallery = case
    _, kept, right = rank_gallery(distance, query, gallery)
    place = [np.cumsum(k)[r] for k, r in zip(kept, right, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "PIECE", piece)
        got = score(distance, query, gallery)
    assert got.first.tolist() == [p[0] if len(p) else 0 for p in place]
    inp = [len(p) / p[-1] if len(p) else np.nan for p in place]
    ap = [np.mean(np.arange(1, len(p) + 1) / p) if len(p) else np.nan for p in place]
    np.testing.assert_array_equal(got.inp, inp)
    np.testing.assert_allclose(got.ap, ap, rtol=1e-12)


@settings(max_examples=100, deadline=None)
@given(retrievals())
def test_torch_scores_to_the_last_bit_alike(case: tuple[np.ndarray, Labels, Labels]) -> None:
    """What a GPU computes, on the CPU: equal to the last bit, as both come from the same ranks."""
    distance, query, gallery = case
    here, there = (
        score(distance, query, gallery),
        tensors.score(torch.from_numpy(distance), query, gallery),
    )
    for name in ("ap", "inp", "first"):
        np.testing.assert_array_equal(getattr(here, name), getattr(there, name))


def test_infinite_distances_are_the_last() -> None:
    """Rank 3: behind what is near, and what is as far but stands before; removed do not count."""
    gallery = labels((7, 1), (8, 2), (-1, 1), (7, 2), (9, 2))
    got = score(np.array([[0.0, np.inf, 0.1, np.inf, 0.5]]), labels((7, 1)), gallery)
    assert (got.first[0], got.inp[0]) == (3, 1 / 3)


@settings(max_examples=50, deadline=None)
@given(retrievals(), st.integers(0, 2**32 - 1))
def test_gallery_order_does_not_matter_without_ties(
    case: tuple[np.ndarray, Labels, Labels], seed: int
) -> None:
    distance, query, gallery = case
    rng = np.random.default_rng(seed)
    distance = rng.permuted(np.tile(np.arange(distance.shape[1]), (len(query), 1)), axis=1)
    order = rng.permutation(distance.shape[1])
    here, there = score(distance, query, gallery), score(distance[:, order], query, gallery[order])
    assert np.allclose(here.ap, there.ap, equal_nan=True) and np.array_equal(
        here.first, there.first
    )


def test_scores_by_hand() -> None:
    """Ranking right, wrong, right, wrong: AP = (1/1 + 2/3) / 2, INP = 2/3."""
    gallery = labels((7, 2), (3, 2), (7, 3), (4, 2))
    got = score(np.array([[0.1, 0.2, 0.3, 0.4]]), labels((7, 1)), gallery)
    assert (got.ap[0], got.inp[0], got.first[0]) == pytest.approx((5 / 6, 2 / 3, 1))


def test_own_camera_and_junk_leave_no_trace_but_distractors_do() -> None:
    """Own camera (removed), junk (removed), a distractor (stays), the right image: rank 2."""
    gallery = labels((7, 1), (-1, 2), (0, 2), (7, 2))
    got = score(np.array([[0.1, 0.2, 0.3, 0.4]]), labels((7, 1)), gallery)
    assert (got.ap[0], got.inp[0], got.first[0]) == pytest.approx((1 / 2, 1 / 2, 2))


def test_another_person_of_the_same_camera_stays() -> None:
    got = score(np.array([[0.1, 0.2]]), labels((7, 1)), labels((8, 1), (7, 2)))
    assert got.first[0] == 2


def test_summary_leaves_out_what_cannot_be_found() -> None:
    gallery = labels((1, 2), (2, 1), (3, 2))
    # Found at rank 1; seen by its own camera only; found at rank 2; absent.
    query = labels((1, 1), (2, 1), (3, 1), (9, 1))
    distance = np.array([[0.0, 0.5, 0.9], [0.1, 0.0, 0.2], [0.0, 0.5, 0.2], [0.0, 0.1, 0.2]])
    result = score(distance, query, gallery)
    assert result.valid.tolist() == [True, False, True, False]
    assert result.summary() == pytest.approx(
        {"mAP": 75.0, "rank1": 50.0, "rank5": 100.0, "rank10": 100.0, "mINP": 75.0}
    )


def test_summary_of_nothing_to_find() -> None:
    with pytest.raises(ValueError, match="no query has a right image"):
        score(np.zeros((1, 1)), labels((1, 1)), labels((1, 1))).summary()


def test_rank5_and_rank10_count_ranks_after_removal() -> None:
    """The right image is 6th of those kept."""
    gallery = labels((7, 1), *[(i, 2) for i in range(10, 15)], (7, 2))
    summary = score(np.arange(7.0)[None], labels((7, 1)), gallery).summary()
    assert (summary["rank1"], summary["rank5"], summary["rank10"]) == (0, 0, 100)


@pytest.fixture
def embedded() -> tuple[np.ndarray, np.ndarray, Labels, Labels]:
    rng = np.random.default_rng(0)
    query, gallery = (rng.standard_normal((n, 8)).astype(np.float32) for n in (50, 120))
    query, gallery = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, gallery))
    return (
        query, gallery, Labels(rng.integers(1, 9, 50), rng.integers(1, 4, 50)),
        Labels(rng.integers(-1, 9, 120), rng.integers(1, 4, 120)),
    )  # fmt: skip


def test_chunks_change_nothing(embedded: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    query, gallery, *who = embedded
    whole = score(1 - query @ gallery.T, *who)
    monkeypatch.setattr(metrics, "CHUNK", 7)
    parts = score_queries(Distances(query, gallery), *who)
    for name in ("ap", "inp", "first"):
        assert np.allclose(getattr(whole, name), getattr(parts, name), equal_nan=True)


def test_on_a_device_of_torch(embedded: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    """`cpu:0` is torch's name for the CPU, and goes the way of a GPU."""
    query, gallery, *who = embedded
    monkeypatch.setattr(metrics, "CHUNK", 7)
    here, there = (
        score_queries(Distances(query, gallery, device=device), *who) for device in ("cpu", "cpu:0")
    )
    assert np.array_equal(here.first, there.first) and np.allclose(
        here.ap, there.ap, equal_nan=True
    )


def test_join_keeps_order() -> None:
    one, two = (Scores(np.array([x]), np.array([x]), np.array([int(x)])) for x in (1.0, 2.0))
    assert join_scores([one, two]).first.tolist() == [1, 2]


def test_sampled_queries_can_be_found_and_depend_on_labels_alone() -> None:
    query, gallery = (
        labels(*[(i, 1) for i in range(1, 31)]),
        labels(*[(i, 2) for i in range(1, 31, 2)]),
    )
    rows = sample_queries(query, gallery, 5)
    assert len(rows) == 5 and rows[0] == 0 and rows[-1] == 28
    assert findable(query, gallery)[rows].all()
    assert sample_queries(query, gallery, 1000).tolist() == list(range(0, 30, 2))


def test_ranked_lists_leave_out_what_is_not_searched() -> None:
    gallery = labels((7, 1), (-1, 2), (3, 2), (7, 2), (4, 3))
    query = labels((5, 1), (7, 1))
    distances = Distances(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)[[1, 1, 1, 1, 0]])
    got = ranked_lists(
        distances,
        query,
        gallery,
        np.array([1]),
        np.array(["q0", "q1"]),
        np.array(list("abcde")),
        depth=2,
    )
    assert got.to_dict("list") == {
        "query": ["q1", "q1"], "rank": [1, 2], "gallery": ["c", "d"], "distance": [0.0, 0.0],
        "right": [False, True],
    }  # fmt: skip
