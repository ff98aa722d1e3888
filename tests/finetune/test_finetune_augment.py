from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cion_core.finetune.augment import Augmentation, Erasing

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
NOTHING = Erasing(area=(0.1, 0.2), ratio=(1, 1), log=False, tries=1, fill=None, share=0.0)
ERASING = Erasing(area=(0.02, 0.4), ratio=(0.3, 3.33), log=False, tries=5, fill=(7.0, 8.0, 9.0))
IMAGE = np.random.default_rng(0).integers(0, 256, (24, 12, 3), dtype=np.uint8)


def literal_rectangle(
    e: Erasing, rows: int, columns: int, draws: np.random.Generator
) -> tuple[int, ...] | None:
    """Zhong et al. 2020, algorithm 1."""
    for _ in range(e.tries):
        area = draws.uniform(*e.area) * rows * columns
        ratio = (
            np.exp(draws.uniform(np.log(e.ratio[0]), np.log(e.ratio[1])))
            if e.log
            else draws.uniform(*e.ratio)
        )
        height, width = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if height < rows and width < columns:
            return (
                draws.integers(0, rows - height + 1),
                draws.integers(0, columns - width + 1),
                height,
                width,
            )
    return None


def literal(image: np.ndarray, pad: int, e: Erasing, draws: np.random.Generator) -> np.ndarray:
    """Pixel by pixel, in the published order: flip, shift on black, normalise, erase."""
    rows, columns = image.shape[:2]
    flipped = draws.random() < 0.5
    down, right = draws.integers(0, 2 * pad + 1, 2)
    out = np.zeros((3, rows, columns))
    for row in range(rows):
        for column in range(columns):
            y, x = row + down - pad, column + right - pad
            inside = 0 <= y < rows and 0 <= x < columns
            for channel in range(3):
                value = image[y, columns - 1 - x if flipped else x, channel] if inside else 0
                out[channel, row, column] = (value / 255 - MEAN[channel]) / STD[channel]
    if draws.random() < e.share and (found := literal_rectangle(e, rows, columns, draws)):
        top, left, height, width = found
        if e.fill is None:
            out[:, top : top + height, left : left + width] = draws.standard_normal(
                (3, height, width)
            )
        else:
            for channel in range(3):
                out[channel, top : top + height, left : left + width] = e.fill[channel]
    return out


@pytest.mark.parametrize("erasing", [ERASING, replace(ERASING, log=True, fill=None), NOTHING])
def test_equal_to_what_is_written_out(erasing: Erasing) -> None:
    for seed in range(12):
        found = Augmentation(3, erasing)(IMAGE, MEAN, STD, np.random.default_rng(seed))
        assert found.dtype == np.float32 and found.shape == (3, 24, 12)
        np.testing.assert_allclose(
            found, literal(IMAGE, 3, erasing, np.random.default_rng(seed)), atol=1e-5
        )


def test_the_input_is_untouched() -> None:
    before = IMAGE.copy()
    for seed in range(20):
        Augmentation(2, ERASING)(IMAGE, MEAN, STD, np.random.default_rng(seed))
    assert np.array_equal(IMAGE, before)


def test_half_are_flipped_and_half_erased() -> None:
    image = np.zeros((64, 32, 3), np.uint8)
    image[:, :16] = 255  # the left half is bright
    plain = (0.0,) * 3, (1.0,) * 3
    out = [Augmentation(0, NOTHING)(image, *plain, np.random.default_rng(i)) for i in range(600)]
    assert 0.44 < np.mean([o[0, 0, 0] == 0 for o in out]) < 0.56
    out = [Augmentation(0, ERASING)(image, *plain, np.random.default_rng(i)) for i in range(600)]
    assert 0.44 < np.mean([(o == 7).any() for o in out]) < 0.56


def test_shifts_go_as_far_as_the_padding_each_way_and_show_black() -> None:
    image = np.full((9, 9, 3), 255, np.uint8)
    image[4, 4] = 128
    seen = set()
    for seed in range(400):
        out = Augmentation(2, NOTHING)(image, (0.0,) * 3, (1.0,) * 3, np.random.default_rng(seed))
        (row, column) = np.argwhere((out[0] > 0.1) & (out[0] < 0.9))[0]
        down, right = row - 4, column - 4
        seen.add((down, right))
        black = np.zeros((9, 9), bool)
        black[: max(down, 0)] = black[9 + min(down, 0) :] = True
        black[:, : max(right, 0)] = black[:, 9 + min(right, 0) :] = True
        assert ((out[0] == 0) == black).all()
    assert seen == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}


def rectangles(e: Erasing, count: int, size: tuple[int, int]) -> np.ndarray:
    """(area share, height over width, height, width) of what is erased; NaN where nothing is."""
    draws, found = np.random.default_rng(0), []
    for _ in range(count):
        image = np.zeros((3, *size), np.float32)
        e(image, draws)
        rows, columns = np.flatnonzero(image[0].any(1)), np.flatnonzero(image[0].any(0))
        if not len(rows):
            found.append([np.nan] * 4)
            continue
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert (image[0] != 0).sum() == height * width, "one whole rectangle"
        found.append([height * width / (size[0] * size[1]), height / width, height, width])
    return np.array(found)


@pytest.mark.parametrize("log", [False, True])
def test_areas_and_ratios_are_spread_as_they_should_be(log: bool) -> None:
    """Of those that always fit, so that none is drawn again."""
    e = replace(ERASING, area=(0.02, 0.2), log=log, share=1.0)
    area, ratio, *_ = rectangles(e, 1500, (200, 200)).T
    middle = np.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(np.quantile(area, middle), 0.02 + 0.18 * middle, atol=0.01)
    low, high = 0.3, 3.33
    expected = low * (high / low) ** middle if log else low + (high - low) * middle
    np.testing.assert_allclose(np.quantile(ratio, middle), expected, rtol=0.12)


def test_what_does_not_fit_is_drawn_again_and_then_left() -> None:
    wide = replace(ERASING, area=(0.5, 0.5), ratio=(0.1, 4.0), share=1.0, tries=1)
    once, often = (rectangles(replace(wide, tries=tries), 400, (20, 10)) for tries in (1, 50))
    # Of 100 pixels, height over width r: at least 19.5 high above r = 3.80, at least 9.5 wide below
    # r = 1.11.
    missed = (4.0 - 3.80 + 1.11 - 0.1) / 3.9
    assert abs(np.isnan(once[:, 0]).mean() - missed) < 0.06 and not np.isnan(often).any()
    assert often[:, 2].max() < 20 and often[:, 3].max() < 10


def test_noise_is_standard_normal_and_another_everywhere() -> None:
    e = replace(ERASING, area=(0.8, 0.8), ratio=(1.0, 1.0), fill=None, share=1.0)
    image = np.full((3, 100, 100), 50, np.float32)
    e(image, np.random.default_rng(0))
    erased = image[:, (image != 50).all(0)]
    assert abs(erased.shape[1] - 8000) < 200
    assert len(np.unique(erased)) > 0.99 * erased.size
    assert abs(erased.mean()) < 0.03 and abs(erased.std() - 1) < 0.03
    assert abs(np.corrcoef(erased)[np.triu_indices(3, 1)]).max() < 0.05
