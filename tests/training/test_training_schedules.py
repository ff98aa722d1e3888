"""Schedules over real steps: right ends, no jumps, whatever K does."""

import numpy as np
import pytest

from cion_core.training.sampler import IdentitySampler
from cion_core.training.schedules import cosine, lay_out, phase_at, warmup_cosine


def test_cosine_has_its_ends_and_middle():
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
    found = [phase_at(phases, step, 50) for step in range(50)]
    assert [k for *_, k in found] == [2] * 20 + [4] * 10 + [6] * 10 + [8] * 10
    assert found[29] == (1, 20, 4) and found[49] == (3, 40, 8)


def test_epochs_are_laid_out_over_real_steps():
    phases = [(0.0, 2), (0.4, 4), (0.6, 6), (0.8, 8)]
    counts = np.array([3, 8, 20, 24])
    # crops of an epoch, ⌈n/K⌉ K each: 4+8+20+24 = 56 at K = 2 and at 4, 6+12+24+24 = 66 at 6,
    # 8+8+24+24 = 64 at 8
    found, steps = lay_out(phases, "100 epochs", counts, 24)
    lengths = np.array([40 * 56, 20 * 56, 20 * 66, 20 * 64]) / 24
    assert steps == round(lengths.sum())
    starts = [round(fraction * steps) for fraction, _ in found]
    assert starts == [round(x) for x in np.cumsum([0, *lengths[:-1]])] and [
        k for _, k in found
    ] == [2, 4, 6, 8]
    sampler = IdentitySampler(np.repeat(np.arange(4), counts), 24, found, steps, seed=0)
    assert [sampler(step)[1] for step in (starts[1] - 1, starts[1], starts[3] - 1, starts[3])] == [
        2,
        4,
        6,
        8,
    ]
    rates = np.array([warmup_cosine(1.0, 0.0, step, steps, 0.1) for step in range(steps)])
    assert np.abs(np.diff(rates))[steps // 10 :].max() < 2.5 / steps, "no jump where K changes"


def test_steps_are_what_they_are():
    assert lay_out([(0.0, 2), (0.3, 4)], 700, np.array([5, 6]), 32) == ([(0.0, 2), (0.3, 4)], 700)
