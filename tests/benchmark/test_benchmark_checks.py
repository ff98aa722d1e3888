"""What a benchmark is refused for, and what is said of it."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.benchmark.checks import check
from cion_core.errors import CionError

Row = tuple[str, int, int]
GOOD: list[Row] = [
    ("train", 1, 1),
    ("train", 2, 1),
    ("query", 3, 1),
    ("gallery", 3, 2),
    ("gallery", 0, 1),
]


def table(rows: list[Row], same: list[list[int]] = ()) -> pd.DataFrame:
    """A benchmark of (split, person, camera); every file is another, but rows of `same` are one."""
    images = pd.DataFrame(rows, columns=["split", "person", "camera"])
    images = images.assign(
        path=[f"{i}.jpg" for i in range(len(rows))], sha256=[f"{i:064}" for i in range(len(rows))]
    )
    for group in same:
        images.loc[group, "sha256"] = images.sha256[group[0]]
    return images


def test_a_good_one_passes_in_silence() -> None:
    assert check(table(GOOD), "set") == []


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (GOOD[1:], "1 people to train on"),
        # Neither junk nor a distractor counts.
        ([("train", 0, 1), ("train", -1, 2), *GOOD[1:]], "1 people to train on"),
        (
            [*GOOD[:2], ("query", 3, 4), ("gallery", 3, 4)],
            "all images of query and gallery come from camera 4",
        ),
        ([*GOOD[:2], ("query", 3, 1), ("gallery", 4, 2)], "query and gallery share no person"),
        ([*GOOD[:2], ("query", 0, 1), ("gallery", 0, 2)], "query and gallery share no person"),
        (
            [*GOOD[:2], ("query", 3, 1), ("gallery", 3, 1), ("gallery", 4, 2)],
            "no query's person .* another camera",
        ),
    ],
)
def test_what_cannot_be_learnt_or_measured_is_refused(rows: list[Row], words: str) -> None:
    with pytest.raises(CionError, match=f"^set: .*{words}"):
        check(table(rows), "set")


def test_the_same_file_in_training_and_test_is_counted() -> None:
    (doubt,) = check(table(GOOD, same=[[0, 2], [1, 3, 4]]), "set")
    assert doubt.startswith("3 images of query and gallery are training images too")


def test_a_query_in_the_gallery_gives_itself_away_under_another_label_alone() -> None:
    rows = [*GOOD, ("gallery", 3, 1)]
    assert check(table(rows, same=[[2, 5]]), "set") == []  # its own camera: no ranking counts it
    (camera,) = check(table(rows, same=[[2, 3]]), "set")
    (person,) = check(table(rows, same=[[2, 4]]), "set")
    assert (
        camera
        == person
        == "1 queries lie in the gallery byte for byte, under another camera or person"
    )


LABELS = st.lists(st.tuples(st.integers(-1, 3), st.integers(1, 3)), min_size=1, max_size=5)


@settings(max_examples=300, deadline=None)
@given(LABELS, LABELS, LABELS)
def test_refused_is_what_nothing_can_be_measured_on(
    train: list, query: list, gallery: list
) -> None:
    named = {"train": train, "query": query, "gallery": gallery}
    rows = [(split, *label) for split, labels in named.items() for label in labels]
    trainable = len({person for person, _ in train if person > 0}) >= 2
    measurable = any(p > 0 and p == q and c != d for p, c in query for q, d in gallery)
    if trainable and measurable:
        assert check(table(rows), "set") == []
    else:
        with pytest.raises(CionError):
            check(table(rows), "set")
