"""Embedders from model folders, and the loop that feeds them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cion_core import work
from cion_core.embed.batches import AHEAD, PIECE, batches, embed
from cion_core.embed.embedders import EMBEDDERS
from cion_core.embed.embedders.zoo import precision
from cion_core.embed.model import load_embedder
from cion_core.errors import CionError
from cion_core.runtime import Runtime
from cion_core.zoo import Card, create_model, save, to_tensor

CARD = Card("resnet10_ibn", "cion", (64, 32), (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), 256)


@pytest.fixture
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (50 + 3 * i, 20 + i, 3), dtype=np.uint8) for i in range(11)]


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save(tmp_path / "round1", create_model("resnet10_ibn", (64, 32)), CARD)
    return tmp_path / "round1"


@pytest.fixture
def stripes_folder(project: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(project / "models/stripes", tmp_path / "stripes"))


def test_a_stripes_folder_embeds_to_unit_features(
    stripes_folder: Path, images: list[np.ndarray]
) -> None:
    embedder = load_embedder(stripes_folder)
    features = embedder(images)
    assert (embedder.model, embedder.weights) == ("stripes", None)
    assert features.shape == (11, embedder.dim)
    assert np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)


def test_zoo_model_gives_its_own_normalised_features(
    model_folder: Path, images: list[np.ndarray]
) -> None:
    embedder = load_embedder(model_folder, Runtime(device="cpu", batch=4))
    torch.manual_seed(0)
    model = create_model("resnet10_ibn", (64, 32)).eval()
    with torch.inference_mode():
        wanted = torch.nn.functional.normalize(model(to_tensor(images, CARD)), dim=1).numpy()
    assert (embedder.model, embedder.dim) == ("round1", 256)
    assert embedder.weights == work.sha256(model_folder / "model.safetensors")
    assert np.allclose(embedder(images), wanted, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 4, 11, 100])
def test_the_loop_keeps_row_order(
    stripes_folder: Path, images: list[np.ndarray], batch: int
) -> None:
    embedder = load_embedder(stripes_folder)
    asked: list[int] = []

    def read(row: int) -> np.ndarray:
        asked.append(row)
        return images[row]

    features = embed(embedder, read, len(images), batch, "test")
    assert np.array_equal(features, embedder(images))
    assert sorted(asked) == list(range(len(images)))


def test_the_loop_reads_in_threads_and_not_far_ahead(
    stripes_folder: Path, images: list[np.ndarray]
) -> None:
    """Two images are read at once, or the barrier breaks; at most AHEAD batches are read ahead."""
    meet = threading.Barrier(2, timeout=30)
    asked: list[int] = []

    def read(row: int) -> np.ndarray:
        asked.append(row)
        if row in (0, 32):
            meet.wait()
        return images[0]

    assert (AHEAD, PIECE) == (2, 16)
    loop = batches(load_embedder(stripes_folder), read, 1000, 32, "test")
    assert [next(loop)[0], next(loop)[0]] == [0, 32]
    loop.close()
    assert max(asked) < 4 * 32


def test_the_loop_begins_where_it_is_told(stripes_folder: Path, images: list[np.ndarray]) -> None:
    embedder = load_embedder(stripes_folder)
    parts = list(batches(embedder, images.__getitem__, len(images), 4, "test", first=8))
    assert [start for start, _ in parts] == [8] and np.array_equal(
        parts[0][1], embedder(images[8:])
    )


def test_no_images_give_no_features(stripes_folder: Path) -> None:
    embedder = load_embedder(stripes_folder)
    assert embed(embedder, lambda i: pytest.fail("nothing to read"), 0, 8, "test").shape == (
        0,
        embedder.dim,
    )


def test_an_error_while_reading_arrives(stripes_folder: Path, images: list[np.ndarray]) -> None:
    def read(row: int) -> np.ndarray:
        if row == 7:
            raise CionError("crop 7 is torn")
        return images[row]

    with pytest.raises(CionError, match="crop 7 is torn"):
        embed(load_embedder(stripes_folder), read, len(images), 3, "test")


def test_features_that_are_not_finite_are_refused(
    model_folder: Path, images: list[np.ndarray]
) -> None:
    torch.manual_seed(0)
    model = create_model("resnet10_ibn", (64, 32))
    with torch.no_grad():
        model.layer4[0].conv2.weight.fill_(3e38)  # finite itself; its sums are not
    save(model_folder, model, CARD)
    embedder = load_embedder(model_folder)
    with pytest.raises(CionError, match="round1 gives no finite feature for row 0"):
        embed(embedder, images.__getitem__, len(images), 4, "test")
    named = batches(
        embedder, images.__getitem__, len(images), 4, "test", first=4, name_row="file {}.jpg".format
    )
    with pytest.raises(CionError, match=r"no finite feature for file 4\.jpg"):
        next(named)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stripes": 0}, "stripes: must be at least 1"),
        ({"color": 1}, "color: unknown key; valid: image, stripes, hue, "),
        ({"hue": "x"}, "hue: "),
    ],
)
def test_bad_stripes_settings_are_named(stripes_folder: Path, change: dict, message: str) -> None:
    path = stripes_folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CionError, match=rf"card\.json:\n  {message}"):
        load_embedder(stripes_folder)


def test_a_folder_without_weights_says_what_to_put_there(model_folder: Path) -> None:
    (model_folder / "model.safetensors").unlink()
    with pytest.raises(
        CionError, match=r"safetensors: no such file; put the weights of resnet10_ibn there"
    ):
        load_embedder(model_folder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_where_there_is_none(model_folder: Path) -> None:
    with pytest.raises(CionError, match="device: cuda was asked for"):
        load_embedder(model_folder, Runtime(device="cuda"))


MINE = """
import numpy as np

from cion_core.config import Section
from cion_core.embed.embedders.base import Embedder


class Mean(Embedder):
    about = "the mean colour, times something"
    dim = 3

    class Settings(Section):
        times: float = 1.0

    def __call__(self, images):
        means = [self.settings.times * image.mean((0, 1)) for image in images]
        means = np.array(means, np.float32).reshape(-1, 3)
        return means / np.linalg.norm(means, axis=1, keepdims=True)
"""


@pytest.mark.parametrize(("emulates", "dtype"), [(True, torch.float32), (False, torch.bfloat16)])
def test_a_gpu_that_only_emulates_bfloat16_embeds_in_float32(
    monkeypatch: pytest.MonkeyPatch, emulates: bool, dtype: torch.dtype
) -> None:
    """A V100 says that it can, and is several times slower with it."""

    def supported(including_emulation: bool = True) -> bool:
        return including_emulation or not emulates

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert precision("auto", "cuda") == dtype and precision("auto", "cpu") == torch.float32


def test_an_embedder_in_one_file_of_the_users(
    images: list[np.ndarray], workspace: Path, own_file: Callable
) -> None:
    own_file(MINE)
    folder = workspace / "models/colours"
    work.write_json(folder / "card.json", {"embedder": "mine.Mean", "times": 2})
    embedder = load_embedder(folder)
    assert (embedder.model, embedder.name, embedder.dim, embedder.settings.times) == (
        "colours",
        "mine.Mean",
        3,
        2,
    )
    means = np.array([image.mean((0, 1)) for image in images])
    wanted = means / np.linalg.norm(means, axis=1, keepdims=True)
    assert np.allclose(
        embed(embedder, images.__getitem__, len(images), 4, "test"), wanted, atol=1e-5
    )
    work.write_json(folder / "card.json", {"embedder": "mine.Mean", "tines": 2})
    with pytest.raises(CionError, match=r"colours/card\.json:\n  tines: unknown key; valid: times"):
        load_embedder(folder)


def test_an_unknown_embedder_names_the_card_and_those_there_are(workspace: Path) -> None:
    work.write_json("models/x/card.json", {"embedder": "strips"})
    with pytest.raises(
        CionError,
        match=r"models/x/card\.json: .*unknown embedder 'strips'; valid are onnx, stripes, zoo",
    ):
        load_embedder("models/x")


def test_every_embedder_says_what_it_is() -> None:
    assert EMBEDDERS.names() == ["onnx", "stripes", "zoo"] and all(
        part.about for part in EMBEDDERS.all()
    )


def test_stripes_need_no_torch(project: Path) -> None:
    code = (
        "import sys, cion_core.embed.model as m; m.load_embedder('models/stripes'); print('torch' "
        "in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
