"""Networks on their device: synchronised norms keep activations, generators are left alone."""

import pytest
import torch
from torch import nn

from cion_core import zoo
from cion_core.runtime import Runtime
from cion_core.training.learner import Learner
from cion_core.training.placing import (
    describe_runtime,
    own_generators,
    place,
    should_compile,
    synchronise,
)
from cion_core.zoo.resnet import IBN


def activations(network: nn.Module) -> int:
    """How many activations it has: modules without weights that change what passes."""
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
    """Asking their generators would make a context of some hundred megabytes on each."""
    asked = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda, "get_rng_state", lambda device: asked.append(device) or torch.zeros(1)
    )
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *_: None)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with own_generators(torch.device("cpu")):
        torch.manual_seed(5)
    assert not asked and torch.equal(torch.get_rng_state(), before)
    with own_generators(torch.device("cuda", 1)):
        pass
    assert asked == [torch.device("cuda", 1)]


def test_what_is_compiled_is_decided_by_the_device_and_its_tools(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert not should_compile(Runtime(), cpu) and should_compile(Runtime(compile=True), cpu)
    monkeypatch.setattr("cion_core.training.placing.find_spec", lambda name: object())
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert (
        should_compile(Runtime(), gpu)
        and not should_compile(Runtime(compile=False), gpu)
        and not should_compile(Runtime(), cpu)
    )
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert not should_compile(Runtime(), gpu), "without a C compiler Triton cannot"


class Bare(Learner):
    """One layer."""

    name, advice, kept_network = "bare", "", None

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def networks(self):
        return []

    optimizer = rates = forward = None


def test_threads_are_torchs_own_unless_a_number_is_given(one_thread):
    cpu = torch.device("cpu")
    place(Bare(), cpu, Runtime())
    assert torch.get_num_threads() == 1
    place(Bare(), cpu, Runtime(threads=2))
    assert torch.get_num_threads() == 2 == describe_runtime(Runtime(threads=2), cpu)["threads"]


class Moved(Bare):
    """It notes where it is sent, and stays where it is."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.sent = []

    def to(self, *places, **formats):
        self.sent += [str(place) for place in places]
        only_format = {key: value for key, value in formats.items() if key == "memory_format"}
        return super().to(**only_format)


@pytest.mark.parametrize(("device", "on_gpu"), [("cpu", False), ("cuda", True)])
def test_a_gpu_gets_channels_last_weights_and_may_choose_its_algorithms(
    monkeypatch, device, on_gpu
):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    learner = Moved()
    place(learner, torch.device(device), Runtime(compile=False))
    weight = learner.layer.weight
    assert learner.sent == [device]
    assert weight.is_contiguous(memory_format=torch.channels_last) == on_gpu
    assert torch.backends.cudnn.benchmark == on_gpu


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """What is channels-last stays so, as it does on GPUs alone."""
    monkeypatch.setattr(
        "cion_core.zoo.resnet.stays_channels_last",
        lambda x: x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous(),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_instance_norm_stays_channels_last_and_is_the_same(dtype, as_on_a_gpu):
    torch.manual_seed(0)
    norm = IBN(8).to(dtype)
    nn.init.normal_(norm.IN.weight)
    nn.init.normal_(norm.IN.bias)
    x = torch.randn(3, 8, 5, 4, dtype=dtype)
    results = []
    for memory in (torch.contiguous_format, torch.channels_last):
        norm.zero_grad()
        given = x.clone(memory_format=memory).requires_grad_()
        out = norm(given)
        assert out.is_contiguous(memory_format=memory)
        out.square().sum().backward()
        results.append([out, given.grad, norm.IN.weight.grad.clone(), norm.IN.bias.grad.clone()])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_whole_network_stays_channels_last(as_on_a_gpu):
    torch.manual_seed(0)
    network = zoo.create_model("resnet10_ibn", (64, 32)).train()
    images, seen = torch.randn(4, 3, 64, 32), []
    wanted = network(images)
    network.to(memory_format=torch.channels_last)
    for name, module in network.named_modules():
        if isinstance(module, IBN | nn.Conv2d):
            module.register_forward_hook(
                lambda module, given, out, name=name: seen.append((name, out))
            )
    torch.testing.assert_close(
        network(images.to(memory_format=torch.channels_last)), wanted, rtol=1e-4, atol=1e-4
    )
    copied = [
        name for name, out in seen if not out.is_contiguous(memory_format=torch.channels_last)
    ]
    assert len(seen) > 10 and not copied
