"""A step of the real loop must not wait for its device: on a CPU, calls that would are counted."""

import pytest
import torch
from dispatched import Dispatches, Waits, read_late

from cion_core import tables, zoo
from cion_core.crops import CropStore
from cion_core.pretrain.methods import METHODS
from cion_core.pretrain.view_batches import ViewBatches
from cion_core.runtime import Runtime
from cion_core.training.checkpoint import Checkpoints
from cion_core.training.loop import train
from cion_core.training.sampler import IdentitySampler

CPU, STEPS = torch.device("cpu"), 6


class Loaded(ViewBatches):
    """Batches whose items other processes have made."""

    def load(self, steps, workers, device):
        return [self[step] for step in steps]


@pytest.fixture
def rows(data, settings, monkeypatch, tmp_path):
    """The rows of a method's training, as on a GPU.

    Views are made on the device, and numbers read a step late.
    """
    read_late(monkeypatch)

    def start(method, precision="float32"):
        crops = tables.read(tables.Crops, data / "tracklets/crops.parquet")
        sampler = IdentitySampler(crops.tracklet.to_numpy(), 8, [(0.0, 2)], STEPS, seed=5)
        learner = METHODS.named(method)(settings(), zoo.create_model("resnet10_ibn", (32, 16)), 4)
        store = CropStore(data / "tracklets/crops", crops)
        batches = Loaded(store, sampler, learner.view_kinds(), seed=5, on_device=True)
        runtime = Runtime(device="cpu", precision=precision)
        return train(learner, batches, STEPS, CPU, Checkpoints(tmp_path / method), runtime)

    return start


@pytest.mark.parametrize(
    ("method", "precision"),
    [("cion", "float32"), ("cion", "float16"), ("lup", "float32"), ("pnl", "bfloat16")],
)
def test_a_step_waits_for_nothing_but_the_numbers_of_the_step_before(rows, method, precision):
    running = rows(method, precision)
    next(running)
    for _ in range(2):
        with Waits() as seen:
            next(running)
        assert seen.calls == {"tolist": 1}, "which reads what a GPU has copied long ago"


def test_a_step_takes_few_operations(rows):
    """So that they do not become many again: views of 2 + 1 sizes took 1,000 in groups of crops."""
    running = rows("cion")
    next(running)
    with Dispatches() as seen:
        next(running)
    assert seen.kernels < 3000
    assert not {"aten._local_scalar_dense.default", "aten.nonzero.default"} & set(seen.calls)
