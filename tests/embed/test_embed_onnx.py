"""ONNX models of any kind: features equal onnxruntime's own, however the graph wants its images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cion_core import work
from cion_core.embed.batches import embed
from cion_core.embed.model import load_embedder, locate
from cion_core.errors import CionError
from cion_core.images import resize
from cion_core.runtime import Runtime
from cion_core.zoo import create_model

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnx", reason="torch writes ONNX with it")
MEAN, STD = np.float32((0.485, 0.456, 0.406)), np.float32((0.229, 0.224, 0.225))
SIZE = (64, 32)


class Colours(nn.Module):
    """Twelve numbers that tell channels, places and scales apart; [B, 3, H, W] -> [B, 12]."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(images, (2, 2)).flatten(1) + 0.1


class ChannelsLast(Colours):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images.permute(0, 3, 1, 2))


class Maps(nn.Module):
    """A feature as [B, D, 1, 1], and a second output."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pooled = nn.functional.adaptive_avg_pool2d(images, 1) + 0.1
        return pooled, pooled.flatten(1) ** 2


def write(file: Path, module: nn.Module, shape: tuple[int, ...], batch: bool = True) -> Path:
    axes = {"images": {0: "batch"}} if batch else None
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(  # the older exporter takes a second, the newer half a minute
        module.eval(),
        (torch.zeros(shape),),
        file,
        dynamo=False,
        input_names=["images"],
        dynamic_axes=axes,
    )
    return file


@pytest.fixture
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (50 + 3 * i, 20 + i, 3), dtype=np.uint8) for i in range(7)]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def theirs(
    file: Path, images: list[np.ndarray], ready: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """onnxruntime's own features of images one by one, at unit length."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    rows = [
        session.run(None, {name: ready(resize(image, SIZE))[None]})[0].ravel() for image in images
    ]
    return np.stack([row / np.linalg.norm(row) for row in rows])


def usual(pixels: np.ndarray) -> np.ndarray:
    return ((pixels.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)


def test_an_osnet_gives_onnxruntimes_features_in_any_batch(images: list[np.ndarray]) -> None:
    torch.manual_seed(0)
    file = write(Path("osnet.onnx"), create_model("osnet_x0_25"), (2, 3, *SIZE))
    wanted = theirs(file, images, usual)
    for batch in (1, 3, 64):
        embedder = load_embedder(file, Runtime(device="cpu", batch=batch))
        assert (embedder.dim, embedder.size, embedder.model) == (512, SIZE, "osnet")
        assert np.allclose(embedder(images), wanted, atol=1e-5)
        assert np.allclose(
            embed(embedder, images.__getitem__, len(images), batch, "test"), wanted, atol=1e-5
        )
    assert embedder.weights == work.sha256(file)


def test_a_graph_of_one_batch_size_and_channels_last(images: list[np.ndarray]) -> None:
    file = write(Path("fixed.onnx"), ChannelsLast(), (4, *SIZE, 3), batch=False)
    embedder = load_embedder(file, Runtime(batch=64))
    found = embedder(images)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    pixels = np.stack([usual(resize(image, SIZE)).transpose(1, 2, 0) for image in images[:4]])
    wanted = session.run(None, {session.get_inputs()[0].name: pixels})[0]
    assert np.allclose(found[:4], wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-5)
    assert found.shape == (7, 12)


PREPARATIONS = {
    "as it is usual": ({}, usual),
    "BGR": ({"bgr": True}, lambda pixels: usual(pixels)[::-1]),
    "halves": (
        {"mean": [0.5] * 3, "std": [0.5] * 3},
        lambda pixels: (pixels.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1),
    ),
    "0..255": (
        {"mean": [0.0] * 3, "std": [1 / 255] * 3},
        lambda pixels: pixels.astype(np.float32).transpose(2, 0, 1),
    ),
}


@pytest.mark.parametrize("how", PREPARATIONS)
def test_a_card_says_how_images_are_prepared(how: str, images: list[np.ndarray]) -> None:
    said, ready = PREPARATIONS[how]
    file = write(Path("models/mine/model.onnx"), Colours(), (2, 3, *SIZE))
    work.write_json("models/mine/card.json", {"embedder": "onnx", "image": list(SIZE), **said})
    found = load_embedder("models/mine")(images)
    assert np.allclose(found, theirs(file, images, ready), atol=1e-5)


def test_a_folder_with_one_graph_and_no_card(images: list[np.ndarray]) -> None:
    file = write(Path("theirs/weights.onnx"), Colours(), (2, 3, *SIZE))
    assert np.allclose(load_embedder("theirs")(images), theirs(file, images, usual), atol=1e-5)


def test_the_first_output_is_the_feature_unless_the_card_names_another(
    images: list[np.ndarray],
) -> None:
    file = write(Path("models/two/model.onnx"), Maps(), (2, 3, *SIZE))
    card = {"embedder": "onnx", "image": list(SIZE)}
    work.write_json("models/two/card.json", card)
    first = load_embedder("models/two")
    assert first.dim == 3
    assert np.allclose(first(images), theirs(file, images, usual), atol=1e-5)
    names = [output.name for output in onnxruntime.InferenceSession(str(file)).get_outputs()]
    work.write_json("models/two/card.json", {**card, "output": names[1]})
    assert not np.allclose(load_embedder("models/two")(images), first(images), atol=1e-3)
    work.write_json("models/two/card.json", {**card, "output": "absent"})
    with pytest.raises(CionError, match=rf"no output 'absent'; there are {names[0]}, {names[1]}"):
        load_embedder("models/two")


def test_no_images_give_no_features() -> None:
    file = write(Path("x.onnx"), Colours(), (2, 3, *SIZE))
    assert load_embedder(file)([]).shape == (0, 12)


def test_what_is_no_graph_for_images() -> None:
    Path("torn.onnx").write_bytes(b"nothing")
    with pytest.raises(CionError, match=r"torn\.onnx: not an ONNX graph that runs here"):
        load_embedder("torn.onnx")
    write(Path("vector.onnx"), nn.Linear(4, 2), (2, 4))
    with pytest.raises(
        CionError, match=r"vector\.onnx: takes .*; valid: one input, float, of shape \[B, 3, H, W\]"
    ):
        load_embedder("vector.onnx")


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="there is a GPU"
)
def test_cuda_where_there_is_none() -> None:
    file = write(Path("x.onnx"), Colours(), (2, 3, *SIZE))
    with pytest.raises(CionError, match="device: cuda was asked for, but onnxruntime has no CUDA"):
        load_embedder(file, Runtime(device="cuda"))


def test_a_file_is_made_a_model_folder_once() -> None:
    file = write(Path("x.onnx"), Colours(), (2, 3, *SIZE))
    first = locate(file)
    assert locate(file) == first and first.name == "x"
    assert json.loads((first / "card.json").read_text())["file"] == str(file.resolve())
