from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from cion_core.errors import CionError
from cion_core.images import read_image, resize


def test_greyscale_images_become_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.arange(32, dtype=np.uint8).reshape(8, 4))
    image = read_image(tmp_path / "grey.png")
    assert image.shape == (8, 4, 3) and (image == image[..., :1]).all() and image[7, 3, 0] == 31


def test_images_are_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "red.png"), np.full((8, 4, 3), (0, 0, 255), np.uint8))
    assert read_image(tmp_path / "red.png")[0, 0].tolist() == [255, 0, 0]


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8 torn")
    for name in ("torn.jpg", "absent.jpg"):
        with pytest.raises(CionError, match=rf"{name}: not a readable image"):
            read_image(tmp_path / name)


def test_shrinking_averages_and_enlarging_interpolates() -> None:
    lines = np.zeros((8, 8, 3), np.uint8)
    lines[::4] = 200
    assert (resize(lines, (2, 2)) == 50).all(), "bilinear sampling would miss the lines"
    assert (resize(lines, (2, 16)) == 0).all(), "one side grows: bilinear"
    steps = resize(np.repeat(np.array([[[0], [200]]], np.uint8), 3, 2), (1, 4))
    assert steps[0, :, 0].tolist() == [0, 50, 150, 200]


@pytest.mark.parametrize("size", [(64, 32), (200, 90), (30, 90)])
@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
def test_a_way_that_is_named_is_pillows(how: str, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 60, 3), dtype=np.uint8)
    found = resize(image, size, how)
    wanted = Image.fromarray(image).resize(size[::-1], getattr(Image.Resampling, how.upper()))
    assert found.shape == (*size, 3) and found.dtype == np.uint8 and (found == np.asarray(wanted)).all()
    assert (found != resize(image, size)).any(), "the project's own way is another"


def test_bilinear_averages_where_it_shrinks() -> None:
    """As Pillow has it, a triangle twice as wide as the step: half the weight beyond each end. By hand."""
    line = np.repeat(np.array([[[0], [0], [160], [160]]], np.uint8), 3, 2)
    # Each output sees four pixels at distances 1.5, 0.5, 0.5, 1.5 of width 2: weights 1/4, 3/4, 3/4, 1/4, those
    # beyond the edge left out: (1/4·160) / (7/4) = 22.9 and (3/4·160 + 3/4·160) / (7/4) = 137.1.
    assert resize(line, (1, 2), "bilinear")[0, :, 0].tolist() == [23, 137]
