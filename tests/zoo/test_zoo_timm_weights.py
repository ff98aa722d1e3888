"""Checkpoints of timm's own models fit ours, where structures agree."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from cion_core import compat  # noqa: F401  before timm

# isort: split
import timm

from cion_core.errors import CionError
from cion_core.zoo import create_model, load_weights


@pytest.mark.parametrize("name", ["edgenext_x_small", "ghostnet_1_0", "mobilenetv3_small_050"])
def test_timms_imagenet_checkpoints_give_timms_features(name: str, tmp_path: Path) -> None:
    """With classifier, without our last stride or windows, features are timm's pooled ones."""
    torch.manual_seed(1)
    theirs = timm.create_model(name.replace("1_0", "100"), num_classes=10).eval()
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    model = create_model(name).eval()
    dropped = load_weights(model, tmp_path / "model.safetensors")
    assert len(dropped) == 2
    images = torch.randn(2, 3, 128, 64)
    with torch.inference_mode():
        wanted = theirs.forward_head(theirs.forward_features(images), pre_logits=True)
        assert torch.allclose(model(images), wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet50", "swin_tiny", "volo_d1"])
def test_timms_checkpoints_fit_where_ours_deviates(name: str, tmp_path: Path) -> None:
    """Last stride has no weights; windows and position embeddings are resized."""
    torch.manual_seed(1)
    full = {"swin_tiny": "swin_tiny_patch4_window7_224", "volo_d1": "volo_d1_224"}.get(name, name)
    theirs = timm.create_model(full, num_classes=10)
    torch.save(theirs.state_dict(), tmp_path / "x.pth")
    model = create_model(name)
    dropped = load_weights(model, tmp_path / "x.pth")
    assert {key.split(".")[0] for key in dropped} <= {"fc", "head", "aux_head"} and dropped
    key = next(
        key
        for key in model.state_dict()
        if key.endswith(("layer4.0.conv2.weight", "mlp.fc1.weight"))
    )
    assert torch.equal(model.state_dict()[key], theirs.state_dict()[key])


def test_timms_vit_does_not_fit_ours(tmp_path: Path) -> None:
    torch.save(timm.create_model("vit_tiny_patch16_224").state_dict(), tmp_path / "x.pth")
    with pytest.raises(CionError, match=r"missing: .*fc"):
        load_weights(create_model("vit_tiny"), tmp_path / "x.pth")


def test_position_embeddings_of_another_size(tmp_path: Path) -> None:
    torch.save(create_model("vit_tiny").state_dict(), tmp_path / "x.pth")
    model = create_model("vit_tiny", (384, 192))
    load_weights(model, tmp_path / "x.pth")
    assert model(torch.zeros(1, 3, 384, 192)).shape == (1, model.num_features)
