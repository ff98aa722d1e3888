"""The embed stage: features beside crops, and errors a user can act on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from packed import pack

from cion_core import tables, work
from cion_core.embed import stage
from cion_core.embed.model import load_embedder
from cion_core.embed.settings import Embed
from cion_core.errors import CionError
from cion_core.runtime import Runtime

STRIPES = Embed(model="stripes", balance=False)
FEW = Runtime(batch=4)


@pytest.fixture
def crops(workspace: Path, project: Path) -> list[np.ndarray]:
    """Ten crops in two shards under data/, and models/stripes."""
    shutil.copytree(project / "models/stripes", "models/stripes")
    rng = np.random.default_rng(0)
    images = [np.full((40, 16, 3), rng.integers(0, 256, 3), np.uint8) for _ in range(10)]
    pack({"a.mp4": images[:5], "b.mp4": images[5:]})
    return images


def test_one_feature_per_row(crops: list[np.ndarray]) -> None:
    stage.run(STRIPES, FEW)
    features = np.load("data/embeddings/features.npy")
    wanted = load_embedder("models/stripes")(crops)
    assert features.dtype == np.float16 and features.shape == wanted.shape
    assert np.allclose(np.linalg.norm(features.astype(np.float32), axis=1), 1, atol=1e-2)
    # JPEG moves colours a little.
    assert ((features.astype(np.float32) * wanted).sum(axis=1) > 0.95).all()
    assert json.loads(Path("data/embeddings/embeddings.json").read_text()) == {
        "model": "stripes", "weights": None, "dim": wanted.shape[1], "crops": 10,
    }  # fmt: skip
    assert sorted(path.name for path in Path("data/embeddings").iterdir()) == [
        "embeddings.json",
        "features.npy",
    ]


def test_twice_gives_the_same_bytes(crops: list[np.ndarray]) -> None:
    path = Path("data/embeddings/features.npy")
    stage.run(STRIPES, FEW)
    first = path.read_bytes()
    stage.run(STRIPES, Runtime(batch=7))
    assert path.read_bytes() == first


def test_unknown_model_lists_those_there(crops: list[np.ndarray]) -> None:
    with pytest.raises(
        CionError, match=r"embed\.model: no folder models/round1; there: stripes\. To add one: "
    ):
        stage.run(Embed(model="round1", balance=False))


def test_a_corrupt_crop_is_named_and_nothing_is_left(crops: list[np.ndarray]) -> None:
    table = tables.read(tables.Crops, "data/tracklets/crops.parquet")
    with open("data/tracklets/crops/b.mp4.tar", "r+b") as file:
        file.seek(table.offset[7])
        file.write(b"\x00" * int(table["size"][7]))
    with pytest.raises(
        CionError, match=r"b\.mp4\.tar, crop 107 at byte \d+ \(row 7\): not a decodable JPEG"
    ):
        stage.run(STRIPES, FEW)
    assert list(Path("data/embeddings").iterdir()) == []


# An embedder that kills its process at the crop whose red value it is told.
DEADLY = """
import os, signal
import numpy as np
from cion_core.embed.embedders.base import Embedder


class Deadly(Embedder):
    about = "the mean colour, until it is told to die"
    dim = 3

    def __call__(self, images):
        with open("seen.txt", "a") as file:
            file.write("x" * len(images))
        if "DIE" in os.environ and os.path.getsize("seen.txt") > int(os.environ["DIE"]):
            os.kill(os.getpid(), signal.SIGKILL)
        means = np.array([image.mean((0, 1)) for image in images], np.float32).reshape(-1, 3) + 1
        return means / np.linalg.norm(means, axis=1, keepdims=True)
"""
RUN = """
from cion_core.embed import kept, stage
from cion_core.embed.settings import Embed
from cion_core.runtime import Runtime

kept.CHUNK = 4
stage.run(Embed(model="deadly", balance=False), Runtime(batch=2))
"""


def test_a_killed_stage_goes_on_and_gives_the_same_bytes(
    crops: list[np.ndarray], own_file: Callable, project: Path
) -> None:
    own_file(DEADLY)
    work.write_json("models/deadly/card.json", {"embedder": "mine.Deadly"})
    path = Path("data/embeddings/features.npy")

    def run(**environment: str) -> int:
        known = os.environ | {"PYTHONPATH": f"{project}:."} | environment
        return subprocess.run(
            [sys.executable, "-c", RUN], env=known, capture_output=True
        ).returncode

    assert run() == 0
    whole = path.read_bytes()
    path.unlink()
    Path("seen.txt").unlink()
    assert run(DIE="6") == -signal.SIGKILL  # in the second chunk of four
    assert not path.exists()
    Path("seen.txt").unlink()
    assert run() == 0
    assert Path("seen.txt").read_text() == "x" * 6, "the first chunk is not made again"
    assert path.read_bytes() == whole
    assert not list((work.ROOT / "embed").iterdir()), "nothing is kept of what is done"
