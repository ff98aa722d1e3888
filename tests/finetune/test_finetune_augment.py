from __future__ import annotations

import numpy as np

from cion_core.finetune.augment import _erase, augment


def test_the_same_draws_give_the_same_picture_and_the_input_is_untouched() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    before = image.copy()
    first, again = (augment(image, np.random.default_rng(7)) for _ in range(2))
    assert (first == again).all() and first.shape == image.shape and first.dtype == np.uint8
    assert (image == before).all()


def test_half_are_flipped_half_erased() -> None:
    image = np.zeros((64, 32, 3), np.uint8)
    image[:, :16] = 200  # the left half is bright
    out = [augment(image, np.random.default_rng(i)) for i in range(400)]
    flipped = np.mean([o[:, 16:].mean() > o[:, :16].mean() for o in out])
    erased = np.mean([~np.isin(o, (0, 200)).all() for o in out])
    assert 0.42 < flipped < 0.58
    assert 0.42 < erased < 0.58


def test_what_is_erased_is_drawn_as_written_out() -> None:
    """Zhong et al. 2020, algorithm 1, with what does not fit cut off instead of drawn again."""
    image = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    for seed in range(300):
        found, expected = image.copy(), image.copy()
        _erase(found, np.random.default_rng(seed))
        draws = np.random.default_rng(seed)
        area, ratio = draws.uniform(0.02, 0.4) * 64 * 32, np.exp(draws.uniform(*np.log((0.3, 3.33))))
        h, w = min(64, round((area * ratio) ** 0.5)), min(32, round((area / ratio) ** 0.5))
        top, left = draws.integers(0, 64 - h + 1), draws.integers(0, 32 - w + 1)
        expected[top : top + h, left : left + w] = draws.integers(0, 256, (h, w, 3), dtype=np.uint8)
        assert (found == expected).all()
