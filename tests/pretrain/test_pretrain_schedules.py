"""Schedules over real steps: right ends, no jumps, whatever K does."""

import numpy as np
import pytest

from cion_core.pretrain.schedules import cosine, phase, warmup_cosine


def test_ends_and_middle():
    assert cosine(0.04, 0.4, 0, 101) == pytest.approx(0.04)
    assert cosine(0.04, 0.4, 50, 101) == pytest.approx(0.22)
    assert cosine(0.04, 0.4, 100, 101) == pytest.approx(0.4)
    assert cosine(1.0, 2.0, 0, 1) == 1.0


def test_warmup_then_cosine_without_a_jump():
    rates = np.array([warmup_cosine(1.0, 0.0, step, 200, 0.1) for step in range(200)])
    np.testing.assert_allclose(rates[:20], np.arange(1, 21) / 20)
    assert rates.argmax() in (19, 20) and rates[-1] == 0 and rates.max() == 1
    assert np.abs(np.diff(rates)).max() <= 1 / 20 + 1e-12
    assert (np.diff(rates[20:]) <= 0).all()
    assert warmup_cosine(0.5, 0.0, 0, 10, 0.0) == 0.5


def test_phases_begin_at_their_fraction_of_the_run():
    phases = [(0.0, 2), (0.4, 4), (0.6, 6), (0.8, 8)]
    found = [phase(phases, step, 50) for step in range(50)]
    assert [k for *_, k in found] == [2] * 20 + [4] * 10 + [6] * 10 + [8] * 10
    assert found[29] == (1, 20, 4) and found[49] == (3, 40, 8)
