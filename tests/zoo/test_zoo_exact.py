"""The structures that are not timm's as they come, against features measured on the published code."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cion_core.zoo import create_model

CHANGED = ["ghostnet_0_5", "repvit_m0_9", "resnet18_ibn", "vit_tiny", "volo_d1", "swin_tiny"]


@pytest.fixture(scope="module")
def facts() -> dict:
    path = Path(__file__).parents[3] / "shared/data/reidzoo_facts.json.gz"
    if not path.exists():
        pytest.skip(f"no facts of the published models: {path} is absent")
    with gzip.open(path) as file:
        return json.load(file)


def fill(key: str, shape: list[int]) -> np.ndarray:
    """The rule by which the facts' weights were made."""
    rng = np.random.default_rng([zlib.crc32(key.encode()), 0])
    n = rng.standard_normal(shape).astype(np.float32)
    if key.endswith("running_var"):
        return (0.5 + rng.random(shape)).astype(np.float32)
    if key.endswith("running_mean"):
        return 0.1 * n
    if len(shape) >= 2 and key.endswith("weight"):
        return n / np.sqrt(np.prod(shape[1:]))
    return 1 + 0.1 * n if key.endswith(".weight") else 0.1 * n


def translate(name: str, model: nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The published keys as the model's: by timm's filter for Swin, in order for RepViT, which has none."""
    if name.startswith("repvit"):
        wanted = [key for key in model.state_dict() if not key.endswith("num_batches_tracked")]
        return dict(zip(wanted, state.values(), strict=True))
    if name.startswith("swin"):
        from timm.models.swin_transformer import checkpoint_filter_fn  # not before compat

        return checkpoint_filter_fn({key.replace("norm3.", "norm."): state[key] for key in state}, model)
    return state


@pytest.mark.parametrize("name", CHANGED)
def test_equals_the_published_model(facts: dict, name: str) -> None:
    known = facts["models"][name]
    model = create_model(name).eval()
    state = {
        key: torch.as_tensor(fill(key, shape)) for key, shape, dtype in known["state"] if dtype.startswith("float")
    }
    left = model.load_state_dict(translate(name, model, state), strict=False)
    assert left.unexpected_keys == []
    assert [key for key in left.missing_keys if not key.endswith("num_batches_tracked")] == []
    assert sum(p.numel() for p in model.parameters()) == known["params"]
    assert model.num_features == known["embed_dim"]
    for size, wanted in facts["outputs"][name].items():
        height, width = map(int, size.split("x"))
        images = np.random.default_rng([height, width, 0]).standard_normal((2, 3, height, width))
        with torch.inference_mode():
            got = model(torch.from_numpy(images.astype(np.float32))).numpy()
        first = np.array(wanted["first"])
        assert np.linalg.norm(got[:, :16] - first) <= 1e-4 * np.linalg.norm(first)
        assert np.allclose(np.linalg.norm(got, axis=1), wanted["norm"], rtol=1e-4)
