from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cion_core.training.sampler import PeopleSampler

labelled = st.lists(st.integers(1, 7), min_size=3, max_size=8).map(
    lambda sizes: np.repeat(range(len(sizes)), sizes)
)


@given(
    labels=labelled, people=st.integers(1, 3), instances=st.integers(1, 6), step=st.integers(0, 50)
)
def test_a_batch_is_p_people_times_k_images(labels, people, instances, step) -> None:
    batch = PeopleSampler(labels, people, instances, seed=3)(step)[0]
    drawn = labels[batch].reshape(people, instances)
    assert (drawn == drawn[:, :1]).all(), "each group is one person"
    for group in batch.reshape(people, instances):
        available = (labels == labels[group[0]]).sum()
        counts = np.unique(group, return_counts=True)[1]
        assert counts.max() <= -(-instances // available)


@given(labels=labelled, people=st.integers(1, 3))
def test_everyone_is_seen_equally_often(labels, people) -> None:
    sampler = PeopleSampler(labels, people, 2, seed=0)
    seen = np.concatenate([labels[sampler(step)[0]][::2] for step in range(12)])
    counts = np.bincount(seen, minlength=labels.max() + 1)
    assert counts.max() - counts.min() <= 1


def test_a_step_is_a_pure_function() -> None:
    labels = np.repeat(range(6), 5)
    later_first = PeopleSampler(labels, 3, 4, seed=1)
    later_first(9)
    assert (later_first(2)[0] == PeopleSampler(labels, 3, 4, seed=1)(2)[0]).all()
    assert (PeopleSampler(labels, 3, 4, seed=2)(2)[0] != later_first(2)[0]).any()


def test_too_few_people_is_an_error() -> None:
    with pytest.raises(ValueError, match="3 people in a batch, but only 2"):
        PeopleSampler(np.array([0, 0, 1, 1]), 3, 2, seed=0)
