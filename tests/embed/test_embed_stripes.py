"""HSV-stripe histograms against a slow reference, and what a colour descriptor must do.

The reference goes pixel by pixel.
"""

from __future__ import annotations

import colorsys
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cion_core.embed.embedders.stripes import Stripes, describe

SMALL = Stripes.Settings(
    image=(16, 8), stripes=4, hue=6, saturation=2, value=3, grey=0.2, centre=0.25
)


def slow(image: np.ndarray, s: Stripes.Settings) -> np.ndarray:
    """One pixel at a time, from the definition."""
    height, width = s.image
    hsv = cv2.cvtColor(
        cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2HSV_FULL
    )
    histogram = np.zeros((s.stripes, s.bins))
    for y in range(height):
        for x in range(width):
            h, sat, val = (int(v) for v in hsv[y, x])
            value = val * s.value // 256
            if min(sat, val) < s.grey * 255:
                bin = s.hue * s.saturation * s.value + value
            else:
                bin = (
                    h * s.hue // 256 * s.saturation + sat * s.saturation // 256
                ) * s.value + value
            histogram[y * s.stripes // height, bin] += math.exp(
                -0.5 * (((x + 0.5) / width - 0.5) / s.centre) ** 2
            )
    histogram /= histogram.sum(axis=1, keepdims=True)
    feature = np.sqrt(histogram).ravel()
    return feature / np.linalg.norm(feature)


@pytest.mark.parametrize("stripes", [1, 3, 4, 8])
def test_histograms_equal_the_reference(stripes: int) -> None:
    rng = np.random.default_rng(0)
    s = SMALL.model_copy(update={"stripes": stripes})
    images = [
        rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((16, 8), (40, 17), (9, 5))
    ]
    assert np.allclose(describe(images, s), [slow(image, s) for image in images], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 20), st.just(3))))
def test_unit_length_and_not_negative(image: np.ndarray) -> None:
    feature = describe([image], SMALL)
    assert feature.dtype == np.float32 and feature.shape == (1, SMALL.dim)
    assert (feature >= 0).all()
    assert np.linalg.norm(feature) == pytest.approx(1, abs=1e-5)


def test_one_image_does_not_depend_on_its_batch() -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (30, 12, 3), dtype=np.uint8) for _ in range(7)]
    together = describe(images, SMALL)
    assert all(
        np.array_equal(together[i], describe([image], SMALL)[0]) for i, image in enumerate(images)
    )


def paint(top: str, bottom: str, background: str = "grey") -> np.ndarray:
    colours = {
        "red": (0, 0.8, 0.8),
        "blue": (0.66, 0.8, 0.8),
        "grey": (0, 0, 0.5),
        "white": (0, 0, 1.0),
    }
    rgb = {
        name: [round(255 * v) for v in colorsys.hsv_to_rgb(*hsv)] for name, hsv in colours.items()
    }
    image = np.empty((64, 32, 3), np.uint8)
    image[:] = rgb[background]
    image[:32, 8:24], image[32:, 8:24] = rgb[top], rgb[bottom]
    return image


def test_where_a_colour_is_worn_counts() -> None:
    red_blue, blue_red = describe([paint("red", "blue"), paint("blue", "red")], SMALL)
    assert red_blue @ blue_red < 0.5


def test_the_background_at_the_sides_counts_less_than_clothes() -> None:
    here, there, other = describe(
        [
            paint("red", "blue", "grey"),
            paint("red", "blue", "white"),
            paint("blue", "blue", "grey"),
        ],
        SMALL,
    )
    assert here @ there > here @ other


def test_greyscale_falls_into_grey_bins() -> None:
    image = np.repeat(
        np.random.default_rng(2).integers(0, 256, (64, 32, 1), dtype=np.uint8), 3, axis=2
    )
    feature = describe([image], SMALL).reshape(SMALL.stripes, SMALL.bins)
    assert (feature[:, : -SMALL.value] == 0).all()


def test_no_images_give_no_features() -> None:
    assert describe([], SMALL).shape == (0, SMALL.dim)
