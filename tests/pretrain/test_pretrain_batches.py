"""What a step trains on: shares of processes, crops decoded once, and views made early or late."""

import numpy as np
import pytest
import torch

from cion_core import tables
from cion_core.crops import CropStore
from cion_core.pretrain.batches import MEAN, STD, Batches, Late
from cion_core.pretrain.views import lup, multi_crop
from cion_core.training.sampler import IdentitySampler

CPU = torch.device("cpu")


@pytest.fixture
def make(data, settings):
    crops = tables.read(tables.Crops, data / "tracklets/crops.parquet")
    store = CropStore(data / "tracklets/crops", crops)
    recipes = [*multi_crop((32, 16), (16, 8), 1, settings().views), lup((32, 16))[0]]

    def build(**changes):
        sampler = IdentitySampler(crops.tracklet.to_numpy(), 16, [(0.0, 4)], 10, seed=5)
        return Batches(store, sampler, recipes, seed=5, **changes)

    return build


def test_the_shares_of_processes_are_the_batch(make):
    whole, instances = make().views(make()[3], CPU)
    shares = [make(rank=rank, ranks=2) for rank in range(2)]
    parts = [batches.views(batches[3], CPU) for batches in shares]
    assert instances == parts[0][1] == 4 and [len(view) for view in whole] == [16] * 4
    for view, *halves in zip(whole, *(views for views, _ in parts), strict=True):
        assert torch.equal(view, torch.cat(halves))


def test_a_crop_is_decoded_once_a_step(make, monkeypatch):
    batches = make()
    read, seen = batches.store.read, []
    monkeypatch.setattr(batches.store, "read", lambda row: seen.append(row) or read(row))
    batches[0]
    assert len(seen) == len(set(seen)) < 16


@pytest.mark.parametrize("workers", [0, 1])
def test_views_made_late_are_those_made_early(make, workers):
    early, late = make(), make(late=True)
    for one, other in zip(early.load(range(2), 0), late.load(range(2), workers), strict=True):
        assert isinstance(other, Late) and other.crops.dtype == torch.uint8
        (views, instances), (again, same) = early.views(one, CPU), late.views(other, CPU)
        assert instances == same == 4
        for a, b in zip(views, again, strict=True):
            difference = (a - b).abs() * torch.tensor(STD)[:, None, None] * 255
            assert a.shape == b.shape and difference.mean() < 0.8 and np.quantile(difference, 0.99) <= 4


def test_views_are_normalised(make):
    batches = make()
    crops, (views, _) = batches[0], batches.views(batches[0], CPU)
    assert crops.instances == 4
    back = views[0] * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    assert back.min() > -1e-4 and back.max() < 1 + 1e-4 and 0.2 < back.mean() < 0.8
