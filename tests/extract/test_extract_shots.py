"""Where films are cut, and where they only seem to be."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import shot_films
from hypothesis import given, settings
from hypothesis import strategies as st
from shot_films import CUT, MIDDLE, RATE, WHOLE

from cion_core.extract.shots import Look, ShotFinder
from cion_core.ingest.video import Frames, probe

SEEDS = range(2)


def cuts(images: list[np.ndarray], every: int = 1) -> list[int]:
    """The first look of each shot but the first, where every `every`-th image is looked at."""
    looks = [Look(number, number / RATE, image) for number, image in enumerate(images)][::every]
    return first_of_shots(list(ShotFinder().number(looks)), looks)


def first_of_shots(numbered: list[Look], looks: list[Look]) -> list[int]:
    assert [look.index for look in numbered] == [look.index for look in looks], (
        "all are handed on, in order"
    )
    assert numbered[0].shot == 0
    steps = np.diff([look.shot for look in numbered])
    assert set(steps) <= {0, 1}
    return [numbered[at + 1].index for at in np.flatnonzero(steps)]


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("what", CUT)
def test_a_cut_is_found_where_it_is(what: str, every: int) -> None:
    for seed in SEEDS:
        (found,) = cuts(shot_films.film(CUT[what], seed), every)
        assert abs(found - MIDDLE * RATE) <= every


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("what", WHOLE)
def test_what_only_seems_to_cut_a_film_does_not(what: str, every: int) -> None:
    for seed in SEEDS:
        assert cuts(shot_films.film(WHOLE[what], seed), every) == []


def test_cuts_half_a_second_apart_are_all_found() -> None:
    places = [shot_films.film(shot_films.here, seed)[:5] for seed in range(6)]
    assert cuts([image for some in places for image in some]) == [5, 10, 15, 20, 25]


def test_a_film_that_begins_and_ends_with_a_cut() -> None:
    one, other = (shot_films.film(shot_films.here, seed) for seed in (0, 1))
    assert cuts([*one[:1], *other[:20]]) == [1]
    assert cuts([*one[:20], *other[:1]]) == [20]


@pytest.mark.parametrize("images", [0, 1, 2])
def test_a_film_of_hardly_any_looks_is_one_shot(images: int) -> None:
    numbered = list(
        ShotFinder().number(Look(i, 0.0, np.zeros((40, 40, 3), np.uint8)) for i in range(images))
    )
    assert [look.shot for look in numbered] == [0] * images


def test_a_film_that_shows_nothing_is_one_shot() -> None:
    assert cuts([np.full((90, 160, 3), 8, np.uint8)] * 30) == []


def test_black_at_the_beginning_is_no_shot_of_its_own() -> None:
    black = [np.zeros((shot_films.HEIGHT, shot_films.WIDTH, 3), np.uint8)] * 8
    assert cuts([*black, *shot_films.film(shot_films.here, 0)[:20]]) == []


def test_few_looks_are_held_at_once() -> None:
    taken = 0

    def counted(images: list[np.ndarray]) -> Iterator[Look]:
        nonlocal taken
        for number, image in enumerate(images):
            taken += 1
            yield Look(number, number / RATE, image)

    held = []
    for paint in (WHOLE["a pan"], CUT["a hard cut"]):
        taken = 0
        numbered = ShotFinder().number(counted(shot_films.film(paint, 0)))
        held.append(max(taken - handed for handed, _ in enumerate(numbered)))
    assert held[0] <= 4
    assert held[1] <= 14  # the second in which the view could come back


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), min_size=1, max_size=8))
def test_every_look_is_handed_on_once_whatever_is_shown(pieces: list[tuple[int, int]]) -> None:
    grey = [np.full((30, 40, 3), 90, np.uint8)]
    shown = [grey[0], *(shot_films.place(seed, 40, 30).astype(np.uint8) for seed in range(3))]
    images = [shown[kind] for kind, count in pieces for _ in range(count)]
    cuts(images)


def looks_of(clip: Path, first: int = 0) -> Iterator[Look]:
    found = probe(clip)
    for index, time, image in Frames(clip, found.fps, 10):
        yield Look(first + index, time, image)


@pytest.mark.parametrize("clip", ["vtest.avi", "one-by-one-person-detection.mp4"])
def test_no_false_cut_in_a_real_clip(clips: Path, clip: str) -> None:
    finder = ShotFinder()
    assert {look.shot for look in finder.number(looks_of(clips / clip))} == {0}
    assert finder.shots == 1


def test_real_clips_joined_are_cut_at_the_joint(clips: Path) -> None:
    street = list(islice(looks_of(clips / "vtest.avi"), 60))
    room = list(islice(looks_of(clips / "one-by-one-person-detection.mp4", first=60), 60))
    again = [Look(120 + look.index, look.time, look.image) for look in street]
    looks = [
        Look(number, number / RATE, look.image)
        for number, look in enumerate([*street, *room, *again])
    ]
    assert first_of_shots(list(ShotFinder().number(looks)), looks) == [60, 120]
