"""Image files of every kind that sets come in: read right, or named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from cion_core.errors import CionError
from cion_core.images import contents, decode, read_image, resize

ROWS, COLUMNS = np.mgrid[:96, :48]
# RGB in which no side is like another.
RAMP = np.stack([COLUMNS * 5, ROWS * 2, 255 - ROWS * 2], axis=-1).astype(np.uint8)
PICTURE = Image.fromarray(RAMP)
GREY = np.asarray(PICTURE.convert("L"))
EXIF = Image.Exif()
EXIF[0x0112] = 6  # the camera was held so that the picture is to be turned to the right


def _sixteen(path: Path, values: np.ndarray) -> None:
    assert cv2.imwrite(str(path), values.astype(np.uint16) * 257)  # 8 bits to 16: 255 becomes 65535


# What writes it, what it shows, and how nearly.
FORMATS: dict[str, tuple[Callable[[Path], object], np.ndarray, int]] = {
    "plain.jpg": (lambda path: PICTURE.save(path, quality=95), RAMP, 8),
    "upper.JPG": (lambda path: PICTURE.save(path, quality=95), RAMP, 8),
    "progressive.jpeg": (lambda path: PICTURE.save(path, quality=95, progressive=True), RAMP, 8),
    "cmyk.jpg": (lambda path: PICTURE.convert("CMYK").save(path, quality=95), RAMP, 8),
    "grey.jpg": (
        lambda path: PICTURE.convert("L").save(path, quality=95),
        GREY[..., None].repeat(3, 2),
        4,
    ),
    "turned.jpg": (lambda path: PICTURE.save(path, quality=95, exif=EXIF), np.rot90(RAMP, -1), 8),
    "plain.png": (PICTURE.save, RAMP, 0),
    "alpha.png": (PICTURE.convert("RGBA").save, RAMP, 0),
    "grey.png": (PICTURE.convert("L").save, GREY[..., None].repeat(3, 2), 0),
    "grey-alpha.png": (PICTURE.convert("LA").save, GREY[..., None].repeat(3, 2), 0),
    "palette.png": (
        PICTURE.quantize(256).save,
        np.asarray(PICTURE.quantize(256).convert("RGB")),
        0,
    ),
    "sixteen.png": (lambda path: _sixteen(path, RAMP[..., ::-1]), RAMP, 0),
    "sixteen-grey.png": (lambda path: _sixteen(path, GREY), GREY[..., None].repeat(3, 2), 0),
    "bits.png": (PICTURE.convert("1").save, np.asarray(PICTURE.convert("1").convert("RGB")), 0),
    "plain.bmp": (PICTURE.save, RAMP, 0),
    "palette.bmp": (
        PICTURE.quantize(256).save,
        np.asarray(PICTURE.quantize(256).convert("RGB")),
        0,
    ),
    "exact.webp": (lambda path: PICTURE.save(path, lossless=True), RAMP, 0),
    "plain.webp": (lambda path: PICTURE.save(path, quality=95), RAMP, 16),
    "plain.tif": (PICTURE.save, RAMP, 0),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_kind_of_file_is_read_as_it_looks(name: str, tmp_path: Path) -> None:
    write, shown, nearly = FORMATS[name]
    write(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.dtype == np.uint8 and image.shape == shown.shape
    assert np.abs(image.astype(int) - shown).max() <= nearly
    assert (decode(contents(str(tmp_path / name)), name) == image).all()


@pytest.mark.parametrize("share", [0.05, 0.4, 0.6, 0.97])
@pytest.mark.parametrize("name", [name for name in FORMATS if not name.endswith("tif")])
def test_a_file_that_is_cut_off_is_named(name: str, share: float, tmp_path: Path) -> None:
    """OpenCV, reading such a JPEG file itself, gives its upper half and grey below it."""
    FORMATS[name][0](tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(
        CionError,
        match=rf"{name}: not a readable image \(it is (broken, cut off, or no image|cut off or damaged: )",
    ):
        read_image(tmp_path / name)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8 torn")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    FORMATS["plain.jpg"][0](tmp_path / "zeros.jpg")
    whole = (tmp_path / "zeros.jpg").read_bytes()
    # A download that was cut off.
    (tmp_path / "zeros.jpg").write_bytes(whole[: len(whole) // 2] + bytes(len(whole) // 2))
    why = {
        "torn": "broken",
        "zeros": "damaged: prem",
        "empty": "it is empty",
        "absent": "no such file",
        "folder": "is a dir",
    }
    for name, words in why.items():
        with pytest.raises(CionError, match=rf"{name}\.jpg: not a readable image \(.*{words}"):
            read_image(tmp_path / f"{name}.jpg")


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
    assert (
        found.shape == (*size, 3)
        and found.dtype == np.uint8
        and (found == np.asarray(wanted)).all()
    )
    assert (found != resize(image, size)).any(), "the project's own way is another"


def test_bilinear_averages_where_it_shrinks() -> None:
    """As Pillow has it, a triangle twice as wide as the step: half the weight beyond each end.

    By hand.
    """
    line = np.repeat(np.array([[[0], [0], [160], [160]]], np.uint8), 3, 2)
    # Each output sees four pixels at distances 1.5, 0.5, 0.5, 1.5 of width 2: weights 1/4, 3/4,
    # 3/4, 1/4, those beyond the edge left out: (1/4·160) / (7/4) = 22.9 and (3/4·160 + 3/4·160) /
    # (7/4) = 137.1.
    assert resize(line, (1, 2), "bilinear")[0, :, 0].tolist() == [23, 137]
