"""Scores against counting all pairs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.audit import scores


def slow_pairwise(
    labels: list[int], persons: list[int], apart: list[int] | None = None
) -> tuple[float, float]:
    predicted = right = true = 0
    for i, j in combinations(range(len(labels)), 2):
        if apart is not None and apart[i] == apart[j]:
            continue
        linked, same = labels[i] == labels[j] >= 0, persons[i] == persons[j]
        predicted, right, true = predicted + linked, right + (linked and same), true + same
    return (right / predicted if predicted else 1.0, right / true if true else 1.0)


def slow_bcubed(labels: list[int], persons: list[int]) -> tuple[float, float]:
    precision, recall = [], []
    for i in range(len(labels)):
        mine = [j for j in range(len(labels)) if j == i or labels[i] == labels[j] >= 0]
        truth = [j for j in range(len(labels)) if persons[j] == persons[i]]
        both = len(set(mine) & set(truth))
        recall.append(both / len(truth))
        if labels[i] >= 0:
            precision.append(both / len(mine))
    return (
        float(np.mean(precision)) if precision else 1.0,
        float(np.mean(recall)) if recall else 1.0,
    )


rows = st.lists(st.tuples(st.integers(-1, 4), st.integers(-2, 4), st.integers(0, 2)), max_size=25)


@settings(max_examples=80, deadline=None)
@given(rows)
def test_scores_equal_counting_all_pairs(drawn: list[tuple[int, int, int]]) -> None:
    labels, persons, videos = (np.array([row[k] for row in drawn], np.int64) for k in range(3))
    lists = labels.tolist(), persons.tolist()
    for found, expected in (
        (scores.pairwise(labels, persons), slow_pairwise(*lists)),
        (scores.pairwise(labels, persons, videos), slow_pairwise(*lists, videos.tolist())),
        (scores.bcubed(labels, persons), slow_bcubed(*lists)),
    ):
        assert (found["precision"], found["recall"]) == pytest.approx(expected, abs=1e-5)


def test_people_by_best_visible_overlap() -> None:
    def boxes(*rows: tuple) -> pd.DataFrame:
        return pd.DataFrame(rows, columns=["video", "frame", "x1", "y1", "x2", "y2"])

    crops = boxes(
        ("a", 1, 0, 0, 10, 10),
        ("a", 1, 100, 0, 110, 10),
        ("b", 1, 0, 0, 10, 10),
        ("a", 2, 0, 0, 10, 10),
    )
    truth = boxes(
        ("a", 1, 0, 0, 10, 9),
        ("a", 1, 0, 0, 10, 10),
        ("a", 1, 100, 0, 110, 4.9),
        ("a", 2, 0, 0, 10, 10),
    ).assign(person=[4, 5, 6, 7], visible=[1, 1, 1, 0])
    people = scores.find_people(crops, truth)
    assert people[0] == 5 and (people[1:] < 0).all() and len(set(people.tolist())) == 4


def test_tracklets_take_the_side_of_most_crops() -> None:
    crops = pd.DataFrame({"video": list("aaaabbbb"), "tracklet": [0, 0, 0, 1, 2, 2, 2, 3]})
    persons = np.array([9, 9, 8, 8, 9, 9, 9, -1])
    labels = np.array([5, 5, 6, -1, 5, 5, 5, 5])
    found = scores.against_truth(crops, labels, persons)
    # tracklets: people 9, 8, 9, nobody; identities 5, none, 5, 5: of three pairs one is right, the
    # only true one
    assert found["tracklets"] == {
        "precision": pytest.approx(1 / 3, abs=1e-5),
        "recall": 1.0,
        "f1": 0.5,
    }
    assert found["cross_video"]["precision"] == 0.5
