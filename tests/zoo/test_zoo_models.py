"""Backbones: sizes, widths, IBN, last stride, determinism."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cion_core.errors import CionError
from cion_core.zoo import create_model, list_models, names
from cion_core.zoo.resnet import IBN

SIZES = [(256, 128), (128, 64), (384, 128)]


def build(name: str, size: tuple[int, int] = (256, 128)) -> nn.Module:
    torch.manual_seed(0)
    return create_model(name, size).eval()


def test_the_32_names_the_demo_and_those_that_people_bring() -> None:
    assert len(names.ZOO) == len(set(names.ZOO)) == 32
    brought = [name for members in names.BROUGHT.values() for name in members]
    assert list_models() == ["resnet10_ibn", *names.ZOO, *brought]
    assert len(set(list_models())) == len(list_models())


def test_train_and_eval_at_every_size_with_gradients(each: str) -> None:
    """Every parameter learns but the ViTs' `fc`, which has no part in a feature.

    `fc` is published with the weights. Norms are drawn at random first: those that begin at zero
    hold back the gradient of what lies before them.
    """
    torch.manual_seed(0)
    model = create_model(each)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.ndim <= 1 or "gamma" in key or "layer_scale" in key:
                parameter.normal_(1, 0.1)
    for module in model.modules():
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0  # a dropped path learns nothing this once
    for size in SIZES:
        model.train().zero_grad()
        out = model(torch.randn(2, 3, *size))
        assert out.shape == (2, model.num_features)
        (out * torch.randn_like(out)).sum().backward()
        still = [
            key
            for key, p in model.named_parameters()
            if p.grad is None or not p.grad.abs().sum() > 0
        ]
        assert still == (["fc.weight", "fc.bias"] if each.startswith("vit") else [])
        with torch.inference_mode():
            out = model.eval()(torch.randn(1, 3, *size))
        assert out.shape == (1, model.num_features) and out.isfinite().all()


def test_vits_unused_classifier_is_frozen_and_counted() -> None:
    model = build("vit_tiny")
    frozen = [key for key, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ["fc.weight", "fc.bias"]
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(6.43, abs=0.005)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "deit_tiny_patch16_224"])
def test_any_model_of_timm_gives_its_pooled_features(name: str) -> None:
    model = build(name)
    for size in SIZES:
        with torch.inference_mode():
            out = model(torch.randn(2, 3, *size))
        assert out.shape == (2, model.num_features)
        assert out.isfinite().all()


@pytest.mark.parametrize("size", [(64, 32), (32, 16), (256, 128), (128, 64)])
def test_demo_backbone_takes_small_images(size: tuple[int, int]) -> None:
    model = build("resnet10_ibn", (64, 32))
    assert model(torch.randn(2, 3, *size)).shape == (2, 256) == (2, model.num_features)


def test_demo_gradients_reach_every_parameter() -> None:
    model = build("resnet10_ibn").train()
    model(torch.randn(4, 3, 64, 32)).square().sum().backward()
    assert [
        name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ] == []


def test_the_seed_decides_the_weights() -> None:
    first, second = build("resnet10_ibn").state_dict(), build("resnet10_ibn").state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    torch.manual_seed(1)
    other = create_model("resnet10_ibn").state_dict()
    assert not torch.equal(first["layer1.0.conv1.weight"], other["layer1.0.conv1.weight"])


@pytest.mark.parametrize("name", ["resnet18", "resnet50_ibn", "resnet10_ibn"])
def test_last_stride_is_one_without_dilation(name: str) -> None:
    model = build(name)
    strides = {m.stride for m in model.layer4.modules() if isinstance(m, nn.Conv2d)}
    dilations = {m.dilation for m in model.modules() if isinstance(m, nn.Conv2d)}
    assert strides == dilations == {(1, 1)}


def test_ibn_sits_in_layers_one_to_three() -> None:
    model = build("resnet50_ibn")
    for number, blocks in enumerate((3, 4, 6, 3), start=1):
        found = [m for m in getattr(model, f"layer{number}").modules() if isinstance(m, IBN)]
        assert len(found) == (blocks if number < 4 else 0)
    assert isinstance(model.layer1[0].bn1, IBN)


def test_ibn_normalises_halves_differently() -> None:
    """Instance norm forgets an image's own contrast; batch norm with unit statistics keeps it.

    Batch norm is in eval mode.
    """
    layer = IBN(6).eval()
    x = torch.randn(2, 6, 8, 4)
    out, scaled = layer(x), layer(3 * x + 1)
    assert torch.allclose(out[:, :3], scaled[:, :3], atol=1e-3)
    assert torch.allclose(out[:, 3:], x[:, 3:], atol=1e-4)
    assert torch.allclose(scaled[:, 3:], 3 * x[:, 3:] + 1, atol=1e-3)
    assert set(layer.state_dict()) >= {"IN.weight", "IN.bias", "BN.weight", "BN.running_mean"}


def test_unknown_backbone_names_the_valid_ones() -> None:
    with pytest.raises(
        CionError, match=r"'resnet51'.*resnet10_ibn.*resnet50.*any model name of timm"
    ):
        create_model("resnet51")
