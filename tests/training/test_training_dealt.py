"""Batches dealt out to groups, as images once went to GPUs."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.training.sampler import ChunkSampler, DealtSampler


def test_dealt_rows_are_those_of_the_example() -> None:
    labels = np.repeat([0, 1], 4)
    whole, dealt = ChunkSampler(labels, 2, 4, 0), DealtSampler(labels, 2, 4, 0, groups=2)
    a0, a1, a2, a3, b0, b1, b2, b3 = whole(0)[0]
    rows, instances = dealt(0)
    assert rows.tolist() == [a0, a2, b0, b2, a1, a3, b1, b3] and instances == 2


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 4), st.integers(1, 3), st.integers(1, 4), st.integers(0, 5), st.integers(0, 9)
)
def test_each_group_is_what_one_of_several_gpus_took(
    people: int, each: int, groups: int, seed: int, step: int
) -> None:
    labels = np.repeat(np.arange(people + 2), 2 * each * groups)
    rows, instances = DealtSampler(labels, people, each * groups, seed, groups)(step)
    batch, whole = ChunkSampler(labels, people, each * groups, seed)(step)
    assert (instances, whole) == (each, each * groups)
    for group, own in enumerate(np.split(rows, groups)):
        assert own.tolist() == [row for place, row in enumerate(batch) if place % groups == group]
        assert np.unique(labels[own], return_counts=True)[1].tolist() == [each] * people
