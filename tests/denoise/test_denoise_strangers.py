"""How alike strangers are: against a slow reference, and on people whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from cion_core.denoise.linking import strangers
from cion_core.neighbours.arrays import unit


def crowd(
    people: int, each: int, dim: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, videos and persons: everybody in `each` of eight videos, a bit different in each."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), each)
    looks = rng.normal(size=(people, dim))
    video = np.concatenate([rng.permutation(8)[:each] for _ in range(people)])
    return unit(looks[person] + 0.4 * rng.normal(size=(len(person), dim))), video, person


def test_what_is_usual_is_the_mean_and_spread_over_other_videos() -> None:
    points, video, _ = crowd(40, 1, 6)
    found = strangers.measure_strangers(points, video)
    for row in (0, 17, 39):
        others = points[video != video[row]] @ points[row]
        assert found.mean[row] == pytest.approx(others.mean(), abs=1e-5)
        assert found.spread[row] == pytest.approx(others.std(), abs=1e-4)


def test_as_many_strangers_are_as_alike_as_expected() -> None:
    points, video, _ = crowd(1500, 1, 24)
    found = strangers.measure_strangers(points, video)
    i, j = np.triu_indices(len(points), 1)
    i, j = i[video[i] != video[j]], j[video[i] != video[j]]
    expected = np.exp(found.expected(i, j))
    for many in (50.0, 20.0, 5.0, 1.0):  # strangers for each point, far into the tail
        # An eighth of all pairs lie in one video, and are not among these.
        met = 2 * (expected <= many).sum() / len(points) * (8 / 7)
        assert many / 1.5 < met < many * 1.5


def test_people_who_come_again_are_not_taken_for_strangers() -> None:
    points, video, person = crowd(300, 4, 24)
    alone, its_video, _ = crowd(1200, 1, 24, seed=1)
    mixed, pure = (
        strangers.measure_strangers(points, video),
        strangers.measure_strangers(alone, its_video),
    )
    taken, right = np.polyval(mixed.tail, 3.5), np.polyval(pure.tail, 3.5)
    # Nearly all pairs that are so alike are of one person.
    everybody = np.log(np.mean(person[:, None] == person))
    assert abs(taken - right) < 0.6 * (everybody - right)


def test_a_tail_gets_no_heavier_further_out() -> None:
    heavy = np.abs(np.random.default_rng(0).standard_t(1, 20_000))
    assert strangers.fit_tail(heavy)[0] <= 0


def test_of_too_few_points_or_one_video_nothing_is_measured() -> None:
    points, video, _ = crowd(strangers.ENOUGH - 1, 1, 6)
    assert strangers.measure_strangers(points, video) is None
    points, video, _ = crowd(strangers.ENOUGH, 1, 6)
    assert strangers.measure_strangers(points, video) is not None
    one_video = np.zeros_like(video)  # in one video nobody comes again in another
    assert strangers.measure_strangers(points, one_video) is None


def test_with_hardly_anybody_in_another_video_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of one in a second video no tail can be drawn, and a sample may miss that one."""
    points, _, _ = crowd(400, 1, 24)
    assert strangers.measure_strangers(points, np.arange(400) // 399) is not None  # 399 pairs
    assert strangers.measure_strangers(points[:200], np.arange(200) // 199) is None
    monkeypatch.setattr(strangers, "SAMPLE", 3)
    assert strangers.measure_strangers(points, np.arange(400) // 399) is None


def test_more_than_the_sample_are_held_against_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    points, video, _ = crowd(600, 1, 24)
    exact = strangers.measure_strangers(points, video)
    monkeypatch.setattr(strangers, "SAMPLE", 300)
    sampled = strangers.measure_strangers(points, video)
    assert np.abs(sampled.mean - exact.mean).max() < 0.1
    for score in (1, 2):
        assert np.polyval(sampled.tail, score) == pytest.approx(
            np.polyval(exact.tail, score), abs=0.5
        )
