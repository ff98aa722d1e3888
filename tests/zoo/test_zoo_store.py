"""Model folders: what is saved comes back, and what does not fit is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from cion_core.errors import CionError
from cion_core.zoo import Card, create_model, fresh, load, save, to_tensor

CARD = Card("resnet10_ibn", "cion", (64, 32), (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), 256, {"steps": 3})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save(tmp_path / "model", create_model("resnet10_ibn", (64, 32)), CARD)
    return tmp_path / "model"


def test_a_saved_model_loads_with_the_same_features(folder: Path) -> None:
    torch.manual_seed(0)
    model = create_model("resnet10_ibn", (64, 32)).eval()
    loaded, card = load(folder)
    x = torch.randn(3, 3, 64, 32)
    assert card == CARD
    assert not loaded.training
    assert torch.equal(model(x), loaded(x))


def test_equal_models_give_equal_files(folder: Path, tmp_path: Path) -> None:
    loaded, card = load(folder)
    save(tmp_path / "again", loaded, card)
    for name in ("model.safetensors", "card.json"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_weights_of_another_architecture_are_refused(folder: Path) -> None:
    save(folder, create_model("resnet18"), CARD)
    with pytest.raises(
        CionError,
        match=r"not fit resnet10_ibn; missing: 29 \(conv1.0.*; left over: .*; other shape: .*64.*32",
    ):
        load(folder)


def test_missing_and_torn_weights_are_named(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x00" * 5)
    with pytest.raises(CionError, match="not a safetensors file"):
        load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        CionError, match=r"model.safetensors: no such file; put the weights of resnet10_ibn there"
    ):
        load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": [0.5, 0.5]}, "mean must be a list of 3 numbers"),
        ({"image": [64.5, 32]}, "image must be a list of 2 numbers"),
        ({"colour": "red"}, r"unknown keys \['colour'\]"),
        ({"backbone": "resnet51"}, "unknown backbone"),
    ],
)
def test_bad_values_in_a_card_are_named(folder: Path, change: dict, message: str) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | change))
    with pytest.raises(CionError, match=message):
        load(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON"), ("[]", "must be a JSON object"), ("{}", "missing keys")],
)
def test_broken_cards_are_refused(folder: Path, text: str, message: str) -> None:
    (folder / "card.json").write_text(text)
    with pytest.raises(CionError, match=message):
        load(folder)


def test_a_missing_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(CionError, match=r"card\.json: no such file"):
        load(tmp_path)


BUILDERS = """
from torch import nn
from cion_core.zoo import Builder, create_model


class Halved(Builder):
    @classmethod
    def inference(cls, card):
        module = nn.Sequential(create_model(card.backbone, card.image), nn.Linear(256, card.extra["dim"]))
        module.num_features = card.extra["dim"]
        return module


class Other:
    pass
"""


def built(folder: Path, module: str) -> Card:
    """A model folder whose card names a builder in `module`, which lies in the working folder."""
    Path(f"{module}.py").write_text(BUILDERS)
    card = replace(CARD, built_by=f"{module}.Halved", extra={"dim": 7}, num_features=7)
    save(folder, fresh(card), card)
    return card


def test_a_model_that_is_more_than_its_backbone(workspace: Path) -> None:
    card = built(workspace / "model", "some_builders")
    loaded, found = load("model")
    assert found == card and loaded(torch.zeros(2, 3, 64, 32)).shape == (2, 7)
    assert not torch.equal(fresh(card)[1].weight, loaded[1].weight)
    assert "built_by" not in CARD.known and card.known["built_by"] == "some_builders.Halved"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nobodys.builders.Halved", r"nobodys\.builders\.Halved: no module nobodys\.builders"),
        ("Halved", r"Halved: no module Halved"),
        (
            "more_builders.Third",
            r"more_builders\.py has no Third that builds models; see .*Builder",
        ),
        ("more_builders.Other", r"more_builders\.py has no Other that builds models"),
        ("cion_core.work.key", r"work\.py has no key that builds models"),
    ],
)
def test_a_builder_that_is_none(workspace: Path, name: str, message: str) -> None:
    card = built(workspace / "model", "more_builders")
    save("model", fresh(card), replace(card, built_by=name))
    with pytest.raises(CionError, match=message):
        load("model")


@pytest.mark.parametrize("inside", [False, True])
def test_nothing_in_a_model_folder_is_run(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    card = built(workspace / "model", "honest_builders")
    for name in ("inner", "evil"):
        (workspace / f"model/{name}.py").write_text('raise SystemExit("it was run")')
    save("model", fresh(card), replace(card, built_by="inner.X" if inside else "model.evil.X"))
    if inside:
        monkeypatch.chdir("model")
    with pytest.raises(CionError, match=r"built_by .* lies in the model folder; it is not run"):
        load("." if inside else "model")


@pytest.mark.parametrize("name", ["resnet10_ibn", "vit_tiny"])
def test_a_model_for_images_of_another_size(tmp_path: Path, name: str) -> None:
    model = create_model(name, (64, 32))
    save(tmp_path, model, replace(CARD, backbone=name, num_features=model.num_features))
    larger, card = load(tmp_path, (128, 64))
    assert card.image == (128, 64) and larger(torch.zeros(1, 3, 128, 64)).shape == (
        1,
        model.num_features,
    )
    same = [
        key
        for key, value in model.state_dict().items()
        if torch.equal(value, larger.state_dict()[key])
    ]
    assert set(model.state_dict()) - set(same) <= {"pos_embed"}


def test_to_tensor_normalises_rgb() -> None:
    image = np.full((64, 32, 3), (255, 0, 51), np.uint8)
    got = to_tensor([image, image], CARD)
    assert got.shape == (2, 3, 64, 32) and got.dtype == torch.float32 and got.is_contiguous()
    wanted = [(1 - 0.5) / 0.2, (0 - 0.4) / 0.25, (0.2 - 0.3) / 0.3]
    assert torch.allclose(got[1, :, 5, 5], torch.tensor(wanted), atol=1e-6)


@pytest.mark.parametrize("size", [(128, 64), (20, 10), (100, 20)])
def test_to_tensor_resizes_as_opencv(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    shrink = size[0] > 64 and size[1] > 32
    resized = cv2.resize(
        image, (32, 64), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
    )
    plain = replace(CARD, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    assert np.allclose(to_tensor([image], plain)[0].permute(1, 2, 0) * 255, resized, atol=1e-3)


@pytest.mark.parametrize("way", ["bilinear", "bicubic"])
def test_a_way_of_resizing_travels_with_the_model(folder: Path, way: str) -> None:
    model, card = load(folder)
    assert card.resize == "" and "resize" not in card.known
    save(folder, model, replace(card, resize=way))
    _, card = load(folder)
    assert card.resize == way
    image = np.random.default_rng(0).integers(0, 256, (100, 60, 3), dtype=np.uint8)
    wanted = Image.fromarray(image).resize((32, 64), getattr(Image.Resampling, way.upper()))
    expected = (np.asarray(wanted) / 255 - CARD.mean) / CARD.std
    assert np.allclose(to_tensor([image], card)[0].permute(1, 2, 0), expected, atol=1e-5)
    plainly = to_tensor([image], (card.image, card.mean, card.std))
    assert not np.allclose(plainly, to_tensor([image], card), atol=1e-5)


def test_no_images_give_an_empty_tensor() -> None:
    assert to_tensor([], CARD).shape == (0, 3, 64, 32)
