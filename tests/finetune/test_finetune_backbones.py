"""Every backbone of the zoo takes steps of the bag of tricks, and has the published drop path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recipe_run import prepared

from cion_core import compat, zoo  # noqa: F401  before timm

# isort: split
from timm.layers import DropPath

from cion_core.zoo.names import STRUCTURES, ZOO

SIZE, PEOPLE = (128, 64), torch.arange(4) // 2
QUICK = ("resnet18_ibn", "ghostnet_0_5", "edgenext_x_small", "vit_tiny", "swin_tiny")
ALL = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ZOO]


@pytest.mark.parametrize("backbone", ALL)
def test_gradients_reach_the_weights_of_every_backbone(backbone: str) -> None:
    torch.manual_seed(0)
    recipe, _ = prepared(
        "bag_of_tricks", {"image": SIZE, "batch": 4, "instances": 2, "lr": 1e-3}, backbone
    )
    learner = recipe.learner(zoo.create_model(backbone, SIZE), PEOPLE.numpy().repeat(2)).train()
    optimizer = learner.optimizer()
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    # timm's residual blocks end in a norm that begins at zero: at first it hides what is before.
    for _ in range(2):
        loss, watched = learner([torch.randn(4, 3, *SIZE)], 2, PEOPLE)
        assert loss.item() == pytest.approx(
            sum(watched[f"{name}_loss"].item() for name in ("identity", "triplet"))
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    gradients = {
        name: weight.grad for name, weight in learner.named_parameters() if weight.requires_grad
    }
    assert all(
        gradient is not None and gradient.isfinite().all() for gradient in gradients.values()
    )
    assert np.mean([gradient.any().item() for gradient in gradients.values()]) > 0.9
    assert "neck.norm.bias" not in gradients
    assert learner.eval().kept_network(torch.zeros(1, 3, *SIZE)).shape == (
        1,
        learner.backbone.num_features,
    )

    rates = [
        module.drop_prob for module in learner.backbone.modules() if isinstance(module, DropPath)
    ]
    assert max(rates, default=0) == pytest.approx(0.1 if backbone in STRUCTURES["Swin"] else 0)
