"""Scores by pairs of cameras against one restricted evaluation per pair."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.benchmark.labels import Labels
from cion_core.evaluate import cameras, metrics
from cion_core.evaluate.cameras import score_pairs
from cion_core.evaluate.metrics import score


def retrieval(seed: int, queries: int = 40, gallery: int = 60) -> tuple[np.ndarray, Labels, Labels]:
    """Junk and distractors are among queries too.

    Query camera 7 has no gallery, and gallery camera 8 no queries.
    """
    rng = np.random.default_rng(seed)
    query = Labels(rng.integers(-1, 8, queries), rng.choice([1, 2, 3, 7], queries))
    there = Labels(rng.integers(-1, 8, gallery), rng.choice([1, 2, 3, 8], gallery))
    return rng.integers(0, 50, (queries, gallery)).astype(np.float32), query, there


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 60))
def test_each_pair_is_an_evaluation_of_its_own(seed: int, queries: int, images: int) -> None:
    distance, query, gallery = retrieval(seed, queries, images)
    table = score_pairs(distance, query, gallery)
    wanted = [(q, g) for q in np.unique(query.camera) for g in np.unique(gallery.camera) if q != g]
    assert [(row["query"], row["gallery"]) for row in table] == wanted
    for row in table:
        rows, columns = (
            np.flatnonzero(query.camera == row["query"]),
            np.flatnonzero(gallery.camera == row["gallery"]),
        )
        scores = score(distance[np.ix_(rows, columns)], query[rows], gallery[columns])
        assert row["queries"] == scores.valid.sum()
        if row["queries"]:
            assert (row["mAP"], row["rank1"]) == pytest.approx(
                [scores.summary()[m] for m in ("mAP", "rank1")]
            )
        else:
            assert row["mAP"] is None and row["rank1"] is None


def test_scores_of_camera_pairs_by_hand() -> None:
    """Person 1 by camera 1: under camera 2 behind a stranger; under camera 3 first.

    Camera 1 is no pair.
    """
    query = Labels(np.array([1, 9]), np.array([1, 1]))
    gallery = Labels(np.array([1, 5, 1, 1, 5]), np.array([1, 2, 2, 3, 3]))
    distance = np.array([[0.0, 0.1, 0.2, 0.3, 0.4], [0.0, 0.1, 0.2, 0.3, 0.4]], np.float32)
    assert score_pairs(distance, query, gallery) == [
        {"query": 1, "gallery": 2, "queries": 1, "mAP": 50.0, "rank1": 0.0},
        {"query": 1, "gallery": 3, "queries": 1, "mAP": 100.0, "rank1": 100.0},
    ]


def test_chunks_change_nothing_and_distances_are_asked_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    distance, query, gallery = retrieval(0)
    asked: list[slice] = []

    class Asked:
        def __getitem__(self, rows: slice) -> np.ndarray:
            asked.append(rows)
            return distance[rows]

    whole = score_pairs(distance, query, gallery)
    monkeypatch.setattr(metrics, "CHUNK", 7)
    assert score_pairs(Asked(), query, gallery) == [pytest.approx(row) for row in whole]
    assert [row for rows in asked for row in range(rows.start, rows.stop)] == list(
        range(len(query))
    )


def test_no_more_is_ranked_than_by_one_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    distance, query, gallery = retrieval(1)
    ranked: list[int] = []

    def counted(distance: np.ndarray, *who: Labels) -> metrics.Scores:
        ranked.append(distance.size)
        return score(distance, *who)

    monkeypatch.setattr(cameras, "score", counted)
    score_pairs(distance, query, gallery)
    assert 0 < sum(ranked) <= distance.size


def test_the_result_is_plain_json() -> None:
    table = score_pairs(*retrieval(2))
    assert json.loads(json.dumps(table, allow_nan=False)) == table
