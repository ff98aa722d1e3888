"""The network of MGN: put together by hand, at every size, saved, embedded and exported."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cion_core import rendered, zoo
from cion_core.deploy import export
from cion_core.deploy.formats import SUFFIX, Format
from cion_core.embed.model import load_embedder
from cion_core.errors import CionError
from cion_core.finetune.multi_granularity import FAMILY, MultiGranularity
from cion_core.finetune.recipes.mgn import MGN
from cion_core.runtime import Runtime
from cion_core.zoo import Card, to_tensor

SIZE = (64, 32)
CARD = Card(
    "resnet10_ibn", "cion", SIZE, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), 2048, built_by=MGN.built_by()
)


def randomised(model: nn.Module) -> nn.Module:
    """In eval mode, with batch norms that are not neutral."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return model.eval()


def by_hand(
    backbone: nn.Module,
    network: MultiGranularity,
    images: Tensor,
    cuts: list[list[tuple[int, int]]],
) -> Tensor:
    """Features from the whole backbone, cut at these rows; new layers are `network`'s."""
    stem = backbone.maxpool(backbone.act1(backbone.bn1(backbone.conv1(images))))
    last = backbone.layer4(backbone.layer3(backbone.layer2(backbone.layer1(stem))))
    maps = [norm(last) for norm in network.norms]
    parts = [*maps, *(maps[i][:, :, top:bottom] for i in (1, 2) for top, bottom in cuts[i - 1])]
    features = []
    for part, head in zip(parts, network.heads, strict=True):
        pooled = part.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)
        narrow = pooled @ head.reduce.weight.T - head.norm.running_mean
        features.append(narrow / (head.norm.running_var + 1e-5).sqrt() * head.norm.weight)
    return torch.cat(features, 1)


@pytest.mark.parametrize(
    ("name", "size", "cuts"),
    [
        ("resnet10_ibn", (64, 32), [[(0, 4), (4, 8)], [(0, 3), (3, 6), (6, 8)]]),
        ("resnet10_ibn", (96, 48), [[(0, 6), (6, 12)], [(0, 4), (4, 8), (8, 12)]]),
        ("resnet10_ibn", (24, 16), [[(0, 2), (2, 3)], [(0, 1), (1, 2), (2, 3)]]),
        ("resnet18_ibn", (384, 32), [[(0, 12), (12, 24)], [(0, 8), (8, 16), (16, 24)]]),
    ],
)
def test_eight_features_put_together_by_hand(name: str, size: tuple[int, int], cuts: list) -> None:
    torch.manual_seed(0)
    backbone = randomised(zoo.create_model(name, size))
    network = randomised(MultiGranularity(copy.deepcopy(backbone))).eval()
    # The trunk and the branches as the backbone has them.
    network.trunk, network.branches = MultiGranularity(backbone).eval().pretrained
    images = torch.randn(2, 3, *size)
    with torch.inference_mode():
        found, wanted = network(images), by_hand(backbone, network, images, cuts)
    assert found.shape == (2, network.num_features) == (2, 2048) and found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


def test_branches_begin_alike_and_are_three() -> None:
    network = MultiGranularity(zoo.create_model("resnet18_ibn"))
    states = [branch.state_dict() for branch in network.branches]
    assert all(torch.equal(states[0][key], other[key]) for other in states[1:] for key in other)
    addresses = [value.data_ptr() for value in network.state_dict().values() if value.numel() > 1]
    assert len(set(addresses)) == len(addresses)


def test_sizes_of_the_published_network() -> None:
    backbone = zoo.create_model("resnet50_ibn", (384, 128))
    count = {
        name: sum(w.numel() for w in part.parameters()) for name, part in backbone.named_children()
    }
    first = sum(w.numel() for w in backbone.layer3[0].parameters())
    network, image = MultiGranularity(backbone).eval(), torch.zeros(1, 3, 384, 128)
    with torch.inference_mode():
        assert network(image).shape == (1, 2048)
        assert network.branches[2](network.trunk(image)).shape == (1, 2048, 24, 8)
    trunk = sum(count[name] for name in ("conv1", "bn1", "layer1", "layer2")) + first
    branch = count["layer3"] - first + count["layer4"] + 2 * 2048
    head = 1 + 2048 * 256 + 2 * 256
    assert (
        sum(w.numel() for w in network.parameters()) == trunk + 3 * branch + 8 * head == 68_820_040
    )
    strides = {
        module.stride for module in network.branches.modules() if isinstance(module, nn.Conv2d)
    }
    assert strides == {(1, 1)} and [len(branch[0]) for branch in network.branches] == [5, 5, 5]


def test_images_too_low_for_three_stripes() -> None:
    network = MultiGranularity(zoo.create_model("resnet10_ibn"))
    with pytest.raises(
        CionError, match=r"images of 16 rows leave maps of 2, .* 3 stripes; valid: .* at least 24"
    ):
        network(torch.zeros(1, 3, 16, 16))
    assert network.eval()(torch.zeros(1, 3, 24, 16)).shape == (1, 2048)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder as the stage leaves it."""
    torch.manual_seed(0)
    zoo.save(tmp_path / "mgn", randomised(MGN.inference(CARD)), CARD)
    return tmp_path / "mgn"


def test_a_model_folder_loads_again_and_embeds(folder: Path) -> None:
    model, card = zoo.load(folder)
    assert (
        card == CARD
        and isinstance(model, MultiGranularity)
        and model.num_features == card.num_features
    )
    images = rendered.people(3)
    embed = load_embedder(folder, Runtime(device="cpu", batch=2))
    with torch.inference_mode():
        wanted = nn.functional.normalize(model(to_tensor(images, card)), dim=1).numpy()
    np.testing.assert_allclose(embed(images), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("to", "fused"), [(Format.onnx, True), (Format.torchscript, False), (Format.safetensors, False)]
)
def test_exports_agree_with_it(folder: Path, to: Format, fused: bool, tmp_path: Path) -> None:
    """`export` loads what it has written with the other library and compares."""
    out = tmp_path / f"out{SUFFIX[to]}"
    export.export(*zoo.load(folder), to, out, rendered.people(4), fused)
    assert out.exists()


@pytest.mark.parametrize("name", FAMILY[::4])
def test_timm_has_no_such_network(name: str, tmp_path: Path) -> None:
    card = Card(name, "cion", SIZE, CARD.mean, CARD.std, 2048, built_by=MGN.built_by())
    with pytest.raises(
        CionError, match=f"timm has no {name}.*valid: onnx, torchscript, safetensors"
    ):
        export.export(
            MGN.inference(card).eval(), card, Format.timm, tmp_path / "out", rendered.people(3)
        )
