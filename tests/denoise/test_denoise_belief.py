"""Belief in links: how likely one is right that is made at some similarity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.denoise.linking import belief
from cion_core.denoise.linking.belief import LEVELS, Belief


def test_a_link_is_as_likely_right_as_those_from_its_similarity_on_and_more_where_it_is_clear() -> None:
    even = np.array([1.0, 0.0, 0.0])
    assert belief.likely(np.array([0.2, 0.9]), np.array([0.3, 0.7]), even) == pytest.approx([0.2, 0.9])
    half = np.array([0.0, 10.0, 0.0])  # odds are exp(10 (s - 0.5)^2) above 0.5, and 1 below
    told = belief.likely(np.array([0.5, 0.5, 0.5]), np.array([0.3, 0.5, 0.8]), half)
    assert told == pytest.approx([0.5, 0.5, 1 / (1 + np.exp(-0.9))])
    assert 0 < belief.likely(np.array([0.0]), np.array([0.5]), even)[0] < 0.01  # none and all are never sure
    assert belief.likely(np.array([1.0]), np.array([0.5]), even)[0] < 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=len(LEVELS), max_size=len(LEVELS)))
def test_a_probability_grows_with_the_similarity_and_stays_inside(shares: list[float]) -> None:
    some = Belief(np.linspace(3, 0, len(LEVELS)), np.maximum.accumulate(shares))
    told = some.probability(np.linspace(0, 1, 101))
    assert (np.diff(told) >= 0).all() and told.min() > 0 and told.max() < 1
