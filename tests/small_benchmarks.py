"""Tiny benchmarks, every file another image: fixtures for conftest files."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

MARKET = {
    "bounding_box_train": [
        "0002_c1s1_000451_03.jpg",
        "0002_c2s1_000776_01.jpg",
        "0007_c3s3_077419_03.jpg",
    ],
    "query": ["0001_c1s1_001051_00.jpg", "0003_c4s6_015641_00.jpg"],
    "bounding_box_test": [
        "-1_c1s1_000401_03.jpg",
        "0000_c1s1_000151_01.jpg",
        "0001_c1s1_001051_03.jpg",
        "0001_c2s1_001976_01.jpg",
        "0003_c4s6_015641_01.jpg",
    ],
}
MSMT17 = {  # each list's lines
    "list_train.txt": [
        "0000/0000_000_01_0303morning_0015_0.jpg 0",
        "0001/0001_000_14_0303noon_0016_1_ex.jpg 1",
    ],
    "list_val.txt": ["0000/0000_001_05_0303morning_0020_0.jpg 0"],
    "list_query.txt": ["0000/0000_000_02_0113morning_0015_0.jpg 0"],
    "list_gallery.txt": [
        "0000/0000_001_15_0113noon_0015_0.jpg 0",
        "0001/0001_000_02_0114morning_0001_0.jpg 1",
    ],
}


def picture(path: Path) -> None:
    """Write an image that depends on the file's path below the working folder, unlike any other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32("/".join(path.parts[-3:]).encode()))
    assert cv2.imwrite(str(path), rng.integers(0, 255, (16, 8, 3), dtype=np.uint8))


@pytest.fixture
def market(workspace: Path) -> Path:
    """A tiny Market-1501: one query can be found; one's person is seen by no other camera."""
    for folder, names in MARKET.items():
        for name in names:
            picture(workspace / "market" / folder / name)
        (workspace / "market" / folder / "Thumbs.db").write_bytes(b"not an image")
        (workspace / "market" / folder / "._0001_c1s1_000001_00.jpg").write_bytes(
            b"macOS leaves these"
        )
    return Path("market")


@pytest.fixture
def msmt17(workspace: Path) -> Callable[..., Path]:
    """Makes a tiny MSMT17 in folders of the names asked for.

    People count from 0, in training and test.
    """

    def make(train: str = "train", test: str = "test", folder: str = "msmt17") -> Path:
        for name, lines in MSMT17.items():
            below = train if name in ("list_train.txt", "list_val.txt") else test
            for line in lines:
                picture(workspace / folder / below / line.split()[0])
                hidden = workspace / folder / below / line.split()[0].replace("/", "/._")
                hidden.write_bytes(b"macOS leaves these")
            (workspace / folder / name).write_text("\n".join(lines) + "\n")
            (workspace / folder / f"._{name}").write_bytes(b"macOS leaves these")
        return Path(folder)

    return make
