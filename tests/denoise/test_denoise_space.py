"""The space of reciprocal linking: centred, adapted, and the same for videos that come later."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from cion_core.denoise.linking import space
from cion_core.neighbours.arrays import unit


def test_centring_removes_what_a_video_adds() -> None:
    rng = np.random.default_rng(0)
    people = unit(rng.normal(size=(30, 16)))
    points = unit(
        np.concatenate([people + 0.5 * rng.normal(size=16), people + 0.5 * rng.normal(size=16)])
    )
    videos = np.repeat([0, 1], 30)

    def rank1(x: np.ndarray) -> float:
        return float(np.mean((x[:30] @ x[30:].T).argmax(1) == np.arange(30)))

    assert rank1(space.centre_by_view(points, videos)) > rank1(points)


def test_centring_one_identity_per_video_leaves_something() -> None:
    points = unit(np.random.default_rng(0).normal(size=(3, 4)))
    # The shrunk mean of one: its own share and the global one's.
    expected = unit(points - points.mean(0))
    np.testing.assert_allclose(space.centre_by_view(points, np.arange(3)), expected, atol=1e-5)


@pytest.mark.parametrize("centre", [True, False])
def test_videos_that_come_later_lie_in_the_same_space(centre: bool) -> None:
    rng = np.random.default_rng(0)
    videos = np.repeat(np.arange(6), 10)
    features = unit(
        rng.normal(size=(20, 8))[rng.integers(20, size=60)] + 0.4 * rng.normal(size=(60, 8))
    )
    crops = unit(np.repeat(features, 3, 0) + 0.2 * rng.normal(size=(180, 8)))
    nobody = sparse.csr_matrix((60, 60), dtype=bool)
    learnt, points = space.learn_linking_space(
        features, videos, crops, np.repeat(np.arange(60), 3), nobody, np.arange(60), centre
    )
    assert (learnt.mean is None) == (not centre)
    np.testing.assert_allclose(learnt.project(features, videos), points, atol=1e-5)
    last = videos == 5  # by itself it is what it is among the others
    np.testing.assert_allclose(
        learnt.project(features[last], videos[last] - 5), points[last], atol=1e-5
    )


def people(each: int) -> space.LinkingSpace:
    """The space of 400 tracklets, of people seen this often in 8 videos and clearly themselves."""
    rng = np.random.default_rng(0)
    person, videos = np.arange(400) // each, np.arange(400) % 8
    features = unit(rng.normal(size=(400, 32))[person] + 0.7 * rng.normal(size=(400, 32)))
    crops = unit(np.repeat(features, 3, 0) + 0.2 * rng.normal(size=(1200, 32)))
    nobody = sparse.csr_matrix((400, 400), dtype=bool)
    return space.learn_linking_space(
        features, videos, crops, np.repeat(np.arange(400), 3), nobody, np.arange(400)
    )[0]


def test_nothing_is_learnt_from_links_that_are_not_believed() -> None:
    assert len(people(each=4).maps) == space.ROUNDS + 1
    assert len(people(each=1).maps) == 1  # nobody comes again: what is linked is wrong


def test_without_links_it_is_the_space_before_any() -> None:
    learnt = people(each=4)
    assert learnt.before_links.maps == learnt.maps[:1] and learnt.before_links.mean is learnt.mean


def test_where_nothing_varies_inside_tracklets_they_stay_where_they_are() -> None:
    points, nobody = (
        unit(np.random.default_rng(0).normal(size=(5, 4))),
        sparse.csr_matrix((5, 5), dtype=bool),
    )
    learnt, found = space.learn_linking_space(
        points, np.arange(5), points, np.arange(5), nobody, np.arange(5), subtract_view_mean=False
    )
    np.testing.assert_allclose(found, points, atol=1e-6)
    assert len(learnt.maps) == 1


def test_a_space_comes_back_from_what_is_kept() -> None:
    points = unit(np.random.default_rng(0).normal(size=(6, 4)))
    maps = (np.eye(4, dtype=np.float32)[::-1].copy(), np.ones((4, 4), np.float32))
    for mean in (None, points.mean(0)):
        kept = space.LinkingSpace(mean, maps).arrays()
        again = space.LinkingSpace.of_arrays({"index": np.zeros(3), **kept})
        np.testing.assert_array_equal(
            again.project(points, np.arange(6) // 3),
            space.LinkingSpace(mean, maps).project(points, np.arange(6) // 3),
        )
