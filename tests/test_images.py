from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

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
