"""The sampler of clusters: other cameras first, equal batches, a function of the step alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.finetune.camera_sampler import CameraSampler


class Drawn:
    """The generator of a step, noting what it was asked to draw images from."""

    def __init__(self, seed: int) -> None:
        self.rng, self.asked = np.random.default_rng(seed), []

    def choice(
        self, values: np.ndarray, size: int | None = None, replace: bool = True
    ) -> np.ndarray:
        self.asked.append((sorted(np.asarray(values).tolist()), size, replace))
        return self.rng.choice(values, size, replace)

    def permutation(self, count: int) -> np.ndarray:
        return self.rng.permutation(count)


def published(images: list[tuple[int, int]], first: int, instances: int) -> tuple[list[int], bool]:
    """What SpCL draws the K - 1 others from, as its rule goes: (images, with repetition).

    images: (number, camera) of all of somebody's.
    """
    camera = dict(images)[first]
    elsewhere = [image for image, taken in images if taken != camera]
    if elsewhere:
        return elsewhere, not len(elsewhere) >= instances
    others = [image for image, _ in images if image != first]
    # From a single image SpCL draws none; here the image comes again.
    return others or [first], not len(others) >= instances


labelled = st.lists(
    st.tuples(st.integers(-1, 5), st.integers(1, 4)), min_size=1, max_size=60
).filter(lambda images: max(label for label, _ in images) >= 0)


@settings(max_examples=100, deadline=None)
@given(images=labelled, instances=st.integers(2, 5), seed=st.integers(0, 99))
def test_others_are_drawn_as_published(
    images: list[tuple[int, int]], instances: int, seed: int
) -> None:
    labels, cameras = np.array(images).T
    there = len(np.unique(labels[labels >= 0]))
    sampler, draws = CameraSampler(labels, cameras, there, instances, seed, every=10), Drawn(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.random, "default_rng", lambda _: draws)
        batch, _ = sampler(0)
    assert len(batch) == there * instances
    asked = iter(draws.asked)
    for found in batch.reshape(there, instances).tolist():
        rows = np.flatnonzero(labels == labels[found[0]]).tolist()
        assert next(asked) == (rows, None, True)
        others, again = published([(row, int(cameras[row])) for row in rows], found[0], instances)
        assert next(asked) == (sorted(others), instances - 1, again)
        assert set(found[1:]) <= set(others)
    assert next(asked, None) is None


@settings(max_examples=100, deadline=None)
@given(
    images=labelled, people=st.integers(2, 8), instances=st.integers(2, 4), seed=st.integers(0, 99),
    every=st.integers(1, 9),
)  # fmt: skip
def test_batches_hold_whole_people_of_one_size(
    images: list[tuple[int, int]], people: int, instances: int, seed: int, every: int
) -> None:
    labels, cameras = np.array(images).T
    sampler = CameraSampler(labels, cameras, people, instances, seed, every)
    there = len(np.unique(labels[labels >= 0]))
    one_by_one = [sampler(step)[0] for step in range(12)]
    for rows in one_by_one:
        groups = labels[rows].reshape(people, instances)
        assert (groups >= 0).all() and (groups == groups[:, :1]).all()
        times = np.unique(groups[:, 0], return_counts=True)[1]
        assert len(times) == min(there, people) and times.max() - times.min() <= 1, (
            "again only where too few are there"
        )
        taken = cameras[rows].reshape(people, instances)
        for person, seen in zip(groups[:, 0], taken, strict=True):
            if len(np.unique(cameras[labels == person])) > 1:
                assert (seen[1:] != seen[0]).all(), "other cameras than that of the first"
    for step in (11, 3, 7):
        fresh, k = CameraSampler(labels, cameras, people, instances, seed, every)(step)
        assert k == instances and fresh.tolist() == one_by_one[step].tolist(), (
            "whatever was asked before"
        )


def test_an_epoch_shows_everybody_once_and_drops_the_rest() -> None:
    labels, cameras = np.repeat(np.arange(11), 4), np.tile([1, 2], 22)
    # Epochs have 3 batches: 3, 3, and 1 of one that is cut off.
    sampler = CameraSampler(labels, cameras, 3, 2, seed=5, every=7)
    shown = [labels[sampler(step)[0]][::2].tolist() for step in range(14)]
    for first in (0, 3, 7, 10):
        assert len({person for batch in shown[first : first + 3] for person in batch}) == 9
    assert len({tuple(shown[first]) for first in (0, 3, 6, 7)}) == 4, (
        "each epoch and each round in an order of its own"
    )
    assert shown[0] != labels[CameraSampler(labels, cameras, 3, 2, 6, 7)(0)[0]][::2].tolist()


def test_few_people_come_again_in_a_batch() -> None:
    labels, cameras = np.array([0, 0, 0, 1, 1, 1, -1]), np.array([1, 2, 3, 1, 1, 1, 1])
    rows, k = CameraSampler(labels, cameras, 5, 2, seed=0, every=10)(4)
    assert len(rows) == 10 and k == 2
    counts = np.bincount(labels[rows][::2], minlength=2)
    assert sorted(counts) == [2, 3] and 6 not in rows


def test_images_without_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="none of 3 images is labelled"):
        CameraSampler(np.full(3, -1), np.ones(3), 2, 2, 0, 5)
