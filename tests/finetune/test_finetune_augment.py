from __future__ import annotations

import numpy as np

from cion_core.finetune.augment import augment


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
