"""Networks on their device: synchronised norms that keep their activations, and generators that are left alone."""

import pytest
import torch
from torch import nn

from cion_core import zoo
from cion_core.training.placing import own_generators, synchronise


def activations(network: nn.Module) -> int:
    """How many modules of it are no containers and no layers with weights, but change what passes."""
    kinds = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish, nn.Sigmoid)
    return sum(isinstance(module, kinds) for module in network.modules())


@pytest.mark.parametrize("name", ["ghostnet_0_5", "test_efficientnet", "resnet10_ibn"])
def test_synchronised_norms_keep_their_activations(name):
    torch.manual_seed(0)
    network = zoo.create_model(name, (64, 32)).eval()
    images = torch.randn(2, 3, 64, 32)
    before, wanted = activations(network), network(images)
    synchronise(network)
    assert any(isinstance(module, nn.SyncBatchNorm) for module in network.modules())
    assert not any(type(module) is nn.BatchNorm2d for module in network.modules())
    assert activations(network) == before > 0
    torch.testing.assert_close(network(images), wanted)


def test_a_training_leaves_other_gpus_alone(monkeypatch):
    """Their generators would have to be asked, which makes a context of some hundred megabytes on each."""
    asked = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: asked.append(device) or torch.zeros(1))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *_: None)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with own_generators(torch.device("cpu")):
        torch.manual_seed(5)
    assert not asked and torch.equal(torch.get_rng_state(), before)
    with own_generators(torch.device("cuda", 1)):
        pass
    assert asked == [torch.device("cuda", 1)]
