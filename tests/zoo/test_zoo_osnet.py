"""OSNets against torchreid's own, with weights made by the rule of the facts."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from rule_made import fill
from torch import nn

from cion_core.zoo import create_model, load_weights, names

# Millions of parameters without the classifier, as in Table 1 of the paper (2.2 M at width 1) and
# its follow-up.
PARAMETERS = {
    "osnet_x1_0": 2_169_508,
    "osnet_x0_75": 1_285_754,
    "osnet_x0_5": 630_034,
    "osnet_x0_25": 201_864,
    "osnet_ibn_x1_0": 2_170_532,
    "osnet_ain_x1_0": 2_169_508,
}
SIZES = [(256, 128), (128, 64), (384, 128), (130, 66)]


@pytest.fixture(scope="module")
def torchreid() -> Callable[[str], nn.Module]:
    """Builds torchreid's own model of a name; its package imports more than its models need."""
    spec = importlib.util.find_spec("torchreid")
    if spec is None:
        pytest.skip("torchreid is not installed: pip install torchreid==0.2.5")
    folder = Path(spec.submodule_search_locations[0]) / "reid/models"

    def module(file: str) -> ModuleType:
        found = importlib.util.spec_from_file_location(f"theirs_{file}", folder / f"{file}.py")
        loaded = importlib.util.module_from_spec(found)
        found.loader.exec_module(loaded)
        return loaded

    homes = {
        name: module("osnet_ain" if "_ain_" in name else "osnet") for name in names.BROUGHT["OSNet"]
    }
    return lambda name: getattr(homes[name], name)(num_classes=7, pretrained=False).eval()


def ruled(model: nn.Module) -> dict[str, torch.Tensor]:
    """A state dict of the model's keys by the rule."""
    return {
        key: torch.as_tensor(fill(key, tuple(value.shape))) if value.is_floating_point() else value
        for key, value in model.state_dict().items()
    }


@pytest.mark.parametrize("name", names.BROUGHT["OSNet"])
def test_a_checkpoint_of_torchreid_gives_torchreids_features(
    torchreid: Callable, name: str, tmp_path: Path
) -> None:
    theirs = torchreid(name)
    theirs.load_state_dict(ruled(theirs))
    kept = {f"module.{key}": value for key, value in theirs.state_dict().items()}
    torch.save(
        {"state_dict": kept, "epoch": 60, "rank1": np.float64(0.94)}, tmp_path / "model.pth.tar-60"
    )
    ours = create_model(name).eval()
    assert load_weights(ours, tmp_path / "model.pth.tar-60") == [
        "classifier.bias",
        "classifier.weight",
    ]
    for size in SIZES:
        images = torch.from_numpy(
            np.random.default_rng(size).standard_normal((2, 3, *size)).astype(np.float32)
        )
        with torch.inference_mode():
            assert torch.allclose(ours(images), theirs(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", names.BROUGHT["OSNet"])
def test_parameters_and_widths_are_the_published_ones(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]
    assert model.num_features == 512


@pytest.mark.parametrize("name", ["osnet_x0_25", "osnet_ibn_x1_0", "osnet_ain_x1_0"])
def test_gradients_reach_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name).train()
    out = model(torch.randn(4, 3, 128, 64))
    (out * torch.randn_like(out)).sum().backward()
    assert [
        key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ] == []
