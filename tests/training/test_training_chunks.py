"""The sampler of the published recipes: chunks of one person, by epochs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cion_core.training.sampler import ChunkSampler

SIZES = st.lists(st.integers(1, 9), min_size=3, max_size=8)
given_people = given(
    sizes=SIZES, people=st.integers(1, 3), instances=st.integers(1, 5), seed=st.integers(0, 9)
)


def labelled(sizes: list[int], seed: int, unknown: int = 3) -> np.ndarray:
    """So many images of each person, and some of nobody known, in any order."""
    people = np.concatenate([np.repeat(np.arange(len(sizes)), sizes), np.full(unknown, -1)])
    return np.random.default_rng(seed).permutation(people)


def literal(
    labels: np.ndarray, people: int, instances: int, draws: np.random.Generator
) -> list[list[int]]:
    """One epoch, as it is written down: chunks of everybody, in batches of P people.

    People are drawn among those who have a chunk left.
    """
    chunks: dict[int, list[list[int]]] = {}
    for person in sorted(set(labels.tolist()) - {-1}):
        rows = [row for row, label in enumerate(labels) if label == person]
        if len(rows) < instances:
            chunks[person] = [draws.choice(rows, (1, instances))[0].tolist()]
        else:
            order = draws.permutation(rows).tolist()
            chunks[person] = [
                order[i : i + instances] for i in range(0, len(rows) - instances + 1, instances)
            ]
    batches = []
    while len(waiting := [person for person in chunks if chunks[person]]) >= people:
        chosen = draws.choice(waiting, people, replace=False).tolist()
        batches.append([row for person in chosen for row in chunks[person].pop()])
    return batches


@given_people
def test_an_epoch_is_that_of_the_written_out_rule(sizes, people, instances, seed) -> None:
    labels = labelled(sizes, seed)
    sampler = ChunkSampler(labels, people, instances, seed)
    for epoch in range(3):
        expected = literal(labels, people, instances, np.random.default_rng([seed, 0, epoch]))
        steps = range(sampler.first_step(epoch), sampler.first_step(epoch + 1))
        assert [sampler(step)[0].tolist() for step in steps] == expected
        assert {sampler.epoch(step) for step in steps} == {epoch}


@given_people
def test_a_batch_is_p_people_and_k_images_of_each(sizes, people, instances, seed) -> None:
    labels = labelled(sizes, seed)
    sampler = ChunkSampler(labels, people, instances, seed)
    for step in range(sampler.first_step(2)):
        rows, k = sampler(step)
        drawn = labels[rows].reshape(people, k)
        assert k == instances and (drawn == drawn[:, :1]).all() and len(set(drawn[:, 0])) == people
        assert (drawn >= 0).all(), "somebody whom nobody knows"
        for group, person in zip(rows.reshape(people, k), drawn[:, 0], strict=True):
            assert (labels == person).sum() < k or len(set(group)) == k, (
                "no image twice where there are enough"
            )


@given_people
def test_an_epoch_shows_no_image_twice_and_drops_only_what_is_left(
    sizes, people, instances, seed
) -> None:
    labels = labelled(sizes, seed)
    sampler = ChunkSampler(labels, people, instances, seed)
    rows = np.concatenate([sampler(step)[0] for step in range(sampler.first_step(1))])
    shown = np.bincount(rows, minlength=len(labels))
    left = 0
    for person, size in enumerate(sizes):
        chunks = shown[labels == person].sum() / instances
        if size >= instances:
            assert shown[labels == person].max() <= 1
        assert chunks <= max(1, size // instances)
        left += chunks < max(1, size // instances)
    assert left < people, "as long as P people have a chunk there is another batch"


def test_steps_may_be_asked_for_in_any_order() -> None:
    labels = labelled([5, 3, 8, 4, 9], 0)
    one_by_one = ChunkSampler(labels, 2, 2, seed=1)
    expected = [one_by_one(step)[0] for step in range(30)]
    for step in (29, 3, 17, 0):
        assert (ChunkSampler(labels, 2, 2, seed=1)(step)[0] == expected[step]).all()
        assert (one_by_one(step)[0] == expected[step]).all()
    assert any(
        (ChunkSampler(labels, 2, 2, seed=2)(step)[0] != expected[step]).any() for step in range(5)
    )
    assert not (one_by_one(0)[0] == one_by_one(one_by_one.first_step(1))[0]).all(), "epochs differ"


def test_epochs_by_hand() -> None:
    """Three people of four images, two in a batch, four of each.

    There is one batch an epoch, and one person is left over.
    """
    sampler = ChunkSampler(np.repeat([0, 1, 2], 4), people=2, instances=4, seed=0)
    assert [sampler.first_step(epoch) for epoch in (3, 0, 1, 2)] == [3, 0, 1, 2]
    assert [sampler.epoch(step) for step in (2, 0, 1)] == [2, 0, 1]
    assert sampler.labels.tolist() == np.repeat([0, 1, 2], 4).tolist()
    seen = {person for step in range(20) for person in sampler(step)[0] // 4}
    assert seen == {0, 1, 2}


def test_too_few_people_is_an_error() -> None:
    with pytest.raises(ValueError, match="3 people in a batch, but only 2"):
        ChunkSampler(np.array([0, 0, -1, 1]), 3, 2, seed=0)
