"""Which images few labels are, against the rules written out person by person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cion_core.errors import CionError
from cion_core.studies.kinds.few import choose_images, choose_people, read_list

SHARES = st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9, 1.0])


def made(counts: list[int]) -> pd.DataFrame:
    """So many images of each person, mixed."""
    rows = [
        (f"{who:04d}_{i}.jpg", who * 3 + 1)
        for who, count in enumerate(counts)
        for i in range(count)
    ]
    return (
        pd.DataFrame(rows, columns=["path", "person"])
        .sample(frac=1, random_state=0)
        .reset_index(drop=True)
    )


def even(counts: list[int], total: int) -> list[int]:
    """How many of each, sorted, if one more always goes to who has fewest and one left."""
    given = [0] * len(counts)
    for _ in range(total):
        left = [i for i, count in enumerate(counts) if given[i] < count]
        given[min(left, key=lambda i: given[i])] += 1
    return sorted(given)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=20), SHARES, st.integers(0, 50))
def test_few_images_are_an_even_cap_per_person(counts: list[int], share: float, seed: int) -> None:
    images, total = made(counts), int(round(share * sum(counts), 6))
    assume(total >= len(counts))
    chosen = choose_images(images, share, seed)
    assert chosen.sum() == total
    of = images[chosen].groupby("person").size()
    assert len(of) == len(counts), "everybody is kept"
    assert sorted(of) == even(counts, total)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=20), SHARES, SHARES, st.integers(0, 50))
def test_smaller_shares_lie_in_larger(counts: list[int], a: float, b: float, seed: int) -> None:
    images, (small, large) = made(counts), sorted((a, b))
    assume(int(small * sum(counts)) >= len(counts) and int(small * len(counts)) >= 2)
    for rule in (choose_images, choose_people):
        assert not (rule(images, small, seed) & ~rule(images, large, seed)).any()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=20, max_size=40), SHARES, st.integers(0, 50))
def test_few_identities_are_some_people_with_all_their_images(
    counts: list[int], share: float, seed: int
) -> None:
    images = made(counts)
    chosen = choose_people(images, share, seed)
    people = set(images.person[chosen])
    assert len(people) == int(round(share * len(counts), 6))
    assert (images.person.isin(people) == chosen).all()


def test_market_1501_at_a_tenth_is_75_people() -> None:
    images = made([2] * 751)
    assert images.person[choose_people(images, 0.1, 0)].nunique() == 75


def test_a_share_that_leaves_too_few_says_from_where_on_it_would_do() -> None:
    with pytest.raises(CionError, match=r"0\.1 of 10 images is 1; valid: from 0\.5 on"):
        choose_images(made([2] * 5), 0.1, 0)
    with pytest.raises(CionError, match=r"0\.1 of 5 people is 0; valid: from 0\.4 on"):
        choose_people(made([2] * 5), 0.1, 0)


def test_published_lists_choose_people_or_images(tmp_path: Path) -> None:
    images, file = made([2, 2, 2]), tmp_path / "list.txt"
    file.write_text("0001\n7\n")
    assert set(images.person[read_list(images, "identities", file)]) == {1, 7}
    file.write_text("train/0001_1.jpg\n0002_0.jpg\n")
    assert sorted(images.path[read_list(images, "images", file)]) == ["0001_1.jpg", "0002_0.jpg"]
    file.write_text("0001_1.jpg\n0009_1.jpg\n")
    with pytest.raises(
        CionError, match=r"list\.txt: line 2: 0009_1\.jpg: none of the 6 images of training"
    ):
        read_list(images, "images", file)
    file.write_text("")
    with pytest.raises(CionError, match="empty"):
        read_list(images, "identities", file)
    with pytest.raises(CionError, match="no such file"):
        read_list(images, "identities", tmp_path / "other.txt")


def test_another_seed_is_another_choice() -> None:
    images = made([5] * 12)
    for rule in (choose_images, choose_people):
        assert len({tuple(np.flatnonzero(rule(images, 0.5, seed))) for seed in range(10)}) > 5
