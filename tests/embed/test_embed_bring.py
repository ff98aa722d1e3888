"""What people have becomes a model folder: checkpoints by their keys, timm models by name.

Channels that come with blue first are turned round.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cion_core.embed.bring import Overrides, bring, recognise
from cion_core.embed.model import load_embedder, locate
from cion_core.errors import CionError
from cion_core.zoo import Card, create_model, hub, load, save
from cion_core.zoo.images import take_rgb

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40, 20, 3), dtype=np.uint8) for _ in range(3)]


def checkpoint(name: str, file: str) -> torch.nn.Module:
    torch.manual_seed(0)
    model = create_model(name).eval()
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    torch.save(
        {"state_dict": state | {"module.classifier.weight": torch.zeros(7, 512)}, "epoch": 3}, file
    )
    return model


def test_a_checkpoint_that_says_nothing_embeds(images: list[np.ndarray]) -> None:
    """Its architecture is found from its keys, and kept with it."""
    model = checkpoint("osnet_x0_25", "best.pth")
    embedder = load_embedder("best.pth")
    assert (embedder.model, embedder.dim, embedder.size) == ("best", 512, (256, 128))
    card = load(embedder.folder)[1]
    assert (card.backbone, card.mean, card.std, card.resize) == (
        "osnet_x0_25",
        *IMAGENET,
        "bilinear",
    )
    assert all(
        torch.equal(value, model.state_dict()[key])
        for key, value in load(embedder.folder)[0].state_dict().items()
    )
    assert locate("best.pth") == embedder.folder


@pytest.mark.parametrize(
    "name", ["osnet_ibn_x1_0", "osnet_ain_x1_0", "resnet18_ibn", "ghostnet_0_5", "resnet10_ibn"]
)
def test_the_architecture_is_found_from_the_keys(name: str) -> None:
    with torch.device("meta"):
        state = create_model(name).state_dict()
    made = {key: torch.empty(value.shape) for key, value in state.items()}
    assert recognise({"net": made}, Path("x.pth")) == name


def test_of_fast_reids_models_the_recipe_is_told_apart() -> None:
    for name in (
        "fastreid_bagtricks_r50",
        "fastreid_sbs_r50",
        "fastreid_sbs_r50_half",
        "fastreid_mgn_r50",
    ):
        with torch.device("meta"):
            state = create_model(name).state_dict()
        assert recognise({"model": dict(state)}, Path("model_best.pth")) == name


def test_an_unknown_architecture_tells_the_nearest(tmp_path: Path) -> None:
    state = create_model("osnet_x0_25").state_dict()
    del state["fc.0.weight"]
    torch.save(state, "x.pth")
    with pytest.raises(
        CionError, match=r"the nearest is osnet_x0_25, missing: 1 \(fc\.0\.weight\)"
    ):
        bring("x.pth", Path("models/x"), Overrides())
    assert not Path("models/x").exists()


def test_what_the_user_says_is_in_the_card() -> None:
    checkpoint("osnet_x0_25", "x.pth")
    bring("x.pth", Path("models/x"), Overrides(None, (0.5,) * 3, (0.25,) * 3, (128, 64)))
    card = load("models/x")[1]
    assert (card.mean, card.std, card.image) == ((0.5,) * 3, (0.25,) * 3, (128, 64))
    assert card.extra["weights"]["source"] == "x.pth"


@pytest.mark.parametrize(
    "name",
    [
        "osnet_x0_25",
        "resnet50",
        "repvit_m0_9",
        "fastvit_s12",
        "vit_tiny",
        "swin_tiny",
        "ghostnet_0_5",
    ],
)
def test_a_model_of_blue_first_becomes_one_of_red_first(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name).eval()
    images = torch.randn(2, 3, 256, 128)
    with torch.inference_mode():
        wanted = model(images.flip(1))
        take_rgb(model)
        assert torch.allclose(model(images), wanted, atol=1e-4)


def test_a_name_of_timm_with_weights_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    torch.manual_seed(5)
    theirs = timm.create_model("test_convnext").eval()
    Path("cache").mkdir()
    import safetensors.torch

    safetensors.torch.save_file(theirs.state_dict(), "cache/model.safetensors")
    monkeypatch.setattr(
        hub, "try_to_load_from_cache", lambda repository, file: "cache/model.safetensors"
    )
    embedder = load_embedder("test_convnext")
    images = torch.randn(1, 3, 256, 128)
    with torch.inference_mode():
        wanted = theirs.forward_head(theirs.forward_features(images), pre_logits=True)
        assert torch.allclose(load(embedder.folder)[0](images), wanted, atol=1e-5)
    assert embedder.preparation == (theirs.pretrained_cfg["mean"], theirs.pretrained_cfg["std"])


def test_a_repository_of_the_hub_is_a_model_folder(
    monkeypatch: pytest.MonkeyPatch, images: list[np.ndarray]
) -> None:
    torch.manual_seed(0)
    card = Card("resnet10_ibn", "cion", (64, 32), *IMAGENET, 256)
    save("snapshot", create_model("resnet10_ibn", (64, 32)), card)
    monkeypatch.setattr(
        hub,
        "try_to_load_from_cache",
        lambda repository, file: str(Path("snapshot", file).resolve()),
    )
    assert np.array_equal(load_embedder("hf:org/name")(images), load_embedder("snapshot")(images))


def test_a_model_that_is_nowhere_is_named() -> None:
    with pytest.raises(
        CionError, match=r"models/none: no such model; valid: a model folder .*, an ONNX file"
    ):
        load_embedder("models/none")
    with pytest.raises(CionError, match=r"none\.pth: no such model"):
        load_embedder("none.pth")
    with pytest.raises(CionError, match=r"nonsense: no such file, nor a name of timm"):
        bring("nonsense", Path("models/x"), Overrides())


def test_a_picture_is_no_model() -> None:
    Path("person.jpg").write_bytes(b"\xff\xd8 no weights")
    with pytest.raises(CionError, match=r"person\.jpg: "):
        load_embedder("person.jpg")


def test_a_model_folder_is_copied_as_it_is() -> None:
    checkpoint("osnet_x0_25", "x.pth")
    first = bring("x.pth", Path("models/x"), Overrides())
    shutil.copytree(first, "elsewhere/y")
    bring("elsewhere/y", Path("models/y"), Overrides())
    assert json.loads(Path("models/y/card.json").read_text()) == json.loads(
        (first / "card.json").read_text()
    )
    with pytest.raises(CionError, match=r"has a card, which says how its images are prepared"):
        bring("elsewhere/y", Path("models/z"), Overrides(bgr=True))
