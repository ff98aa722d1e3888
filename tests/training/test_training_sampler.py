"""The identity sampler: fair, whole identities, stateless, fast enough for millions of crops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.training.sampler import IdentitySampler, draw_epoch


@settings(max_examples=80, deadline=None)
@given(
    labels=st.lists(st.integers(0, 6), min_size=1, max_size=60),
    instances=st.sampled_from([1, 2, 3, 4, 8]),
    seed=st.integers(0, 99),
)
def test_an_epoch_shows_every_crop_its_due(labels, instances, seed):
    labels = np.array(labels)
    visits = draw_epoch(labels, instances, np.random.default_rng(seed))
    assert (labels[visits] == labels[visits[:, :1]]).all(), "a visit holds one identity"
    shown = np.bincount(visits.ravel(), minlength=len(labels))
    for identity in np.unique(labels):
        crops = np.flatnonzero(labels == identity)
        times, n = shown[crops], len(crops)
        assert times.min() >= 1 and times.max() - times.min() <= 1
        mine = visits[labels[visits[:, 0]] == identity]
        if n >= instances:
            assert len(mine) == -(-n // instances)
            assert all(len(set(visit)) == instances for visit in mine), "no crop twice in one visit"
        else:
            assert len(mine) == 1
            assert set(times) <= {instances // n, -(-instances // n)}


def test_epochs_follow_one_another_without_losing_a_visit():
    labels = np.repeat(np.arange(7), [1, 2, 3, 4, 5, 6, 9])
    steps, batch, k = 30, 12, 4
    sampler = IdentitySampler(labels, batch, [(0.0, k)], steps, seed=3)
    stream = np.concatenate([sampler(step)[0] for step in range(steps)]).reshape(-1, k)
    length = 1 + 1 + 1 + 1 + 2 + 2 + 3
    for epoch in range(len(stream) // length):
        shown = np.bincount(
            stream[epoch * length : (epoch + 1) * length].ravel(), minlength=len(labels)
        )
        assert shown.min() >= 1
    assert not (stream[:length] == stream[length : 2 * length]).all(), "epochs differ"


def test_a_step_does_not_depend_on_the_steps_before_it():
    labels = np.repeat(np.arange(20), 5)
    phases = [(0.0, 2), (0.4, 4), (0.7, 8)]
    one_by_one = IdentitySampler(labels, 16, phases, 50, seed=1)
    expected = [one_by_one(step) for step in range(50)]
    for step in (49, 20, 19, 35, 0):
        rows, k = IdentitySampler(labels, 16, phases, 50, seed=1)(step)
        assert k == expected[step][1] == (2 if step < 20 else 4 if step < 35 else 8)
        np.testing.assert_array_equal(rows, expected[step][0])
        groups = labels[rows].reshape(-1, k)
        assert (groups == groups[:, :1]).all(), "after a resume instances still belong together"
    assert (IdentitySampler(labels, 16, phases, 50, seed=2)(0)[0] != expected[0][0]).any()


def test_a_batch_larger_than_an_epoch():
    rows, k = IdentitySampler(np.array([5, 5, 9]), 16, [(0.0, 4)], 10, seed=0)(3)
    assert len(rows) == 16 and k == 4 and set(rows) == {0, 1, 2}


@pytest.mark.parametrize("instances", [1, 8])
def test_four_million_crops_are_planned_at_once(instances):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 250_000, 4_000_000)
    visits = draw_epoch(labels, instances, rng)
    assert np.bincount(visits.ravel()).max() <= max(2, instances)
    assert (labels[visits] == labels[visits[:, :1]]).all()
