"""What a step trains on: shares of processes, crops decoded once, views by workers or devices."""

import numpy as np
import pytest
import torch

from cion_core import tables
from cion_core.crops import CropStore
from cion_core.pretrain import views_on_cpu
from cion_core.pretrain.view_batches import MEAN, STD, DeferredItem, ViewBatches
from cion_core.pretrain.views import lup, multi_crop
from cion_core.training.sampler import IdentitySampler

CPU = torch.device("cpu")


@pytest.fixture
def make(data, settings):
    crops = tables.read(tables.Crops, data / "tracklets/crops.parquet")
    store = CropStore(data / "tracklets/crops", crops)
    kinds = [*multi_crop((32, 16), (16, 8), 1, settings().views), lup((32, 16), (0.4, 0.6))[0]]

    def build(**changes):
        sampler = IdentitySampler(crops.tracklet.to_numpy(), 16, [(0.0, 4)], 10, seed=5)
        return ViewBatches(store, sampler, kinds, seed=5, **changes)

    return build


def test_the_shares_of_processes_are_the_batch(make):
    item = make().prepare(make()[3], CPU)
    whole, instances = item.views, item.instances
    shares = [make(rank=rank, processes=2) for rank in range(2)]
    parts = [batches.prepare(batches[3], CPU) for batches in shares]
    assert instances == parts[0].instances == 4 and [len(view) for view in whole] == [16] * 4
    for view, *halves in zip(whole, *(part.views for part in parts), strict=True):
        assert torch.equal(view, torch.cat(halves))


def test_a_crop_is_decoded_once_a_step(make, monkeypatch):
    batches = make()
    read, seen = batches.store.read, []
    monkeypatch.setattr(batches.store, "read", lambda row: seen.append(row) or read(row))
    batches[0]
    assert len(seen) == len(set(seen)) < 16


@pytest.mark.parametrize("workers", [0, 1])
def test_views_made_late_are_those_made_early(make, workers):
    early, late = make(), make(on_device=True)
    for one, other in zip(
        early.load(range(2), 0, CPU), late.load(range(2), workers, CPU), strict=True
    ):
        assert isinstance(other, DeferredItem) and other.crops.dtype == torch.uint8
        assert sum(torch.is_tensor(value) for value in vars(other).values()) == 2, (
            "each is a file to hand over"
        )
        first, again = early.prepare(one, CPU), late.prepare(other, CPU)
        assert first.instances == again.instances == 4 and torch.equal(
            first.identities, again.identities
        )
        for a, b in zip(first.views, again.views, strict=True):
            difference = (a - b).abs() * torch.tensor(STD)[:, None, None] * 255
            assert (
                a.shape == b.shape
                and difference.mean() < 0.8
                and np.quantile(difference, 0.99) <= 4
            )


def test_views_are_normalised(make):
    batches = make()
    item = batches.prepare(batches[0], CPU)
    assert item.instances == 4
    back = item.views[0] * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    assert back.min() > -1e-4 and back.max() < 1 + 1e-4 and 0.2 < back.mean() < 0.8


@pytest.mark.parametrize("on_device", [True, False])
def test_a_huge_crop_is_made_smaller_before_it_sets_the_size_of_a_batch(
    make, monkeypatch, on_device
):
    """Of 2000 x 1000 pixels it would make each crop of the batch 6 MB; a view shows 32 x 16."""
    huge = np.random.default_rng(0).integers(0, 255, (2000, 1000, 3), np.uint8)
    batches = make(on_device=on_device)
    read, first = batches.store.read, batches.share(0)[0][0]
    monkeypatch.setattr(batches.store, "read", lambda row: huge if row == first else read(row))
    item = batches[0]
    assert [len(view) for view in batches.prepare(item, CPU).views] == [16] * 4
    if on_device:
        assert item.crops.shape[1:3] == (64, 32), "twice the size of the largest view"


def test_a_crop_keeps_its_proportions_when_it_is_made_smaller():
    image = np.zeros((300, 100, 3), np.uint8)
    assert views_on_cpu.shrink_to_fit(image, (60, 60)).shape == (60, 20, 3)
    assert views_on_cpu.shrink_to_fit(image, (400, 50)).shape == (150, 50, 3)
    assert views_on_cpu.shrink_to_fit(image, (300, 100)) is image
