"""Labelled images, and recipes that find labels of their own in rounds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from recipe_run import MadeUp, prepared
from torch import Tensor, nn

from cion_core import work
from cion_core.errors import CionError
from cion_core.finetune import images
from cion_core.finetune.augment import Augmentation, Erasing
from cion_core.finetune.images import Images, RecipeBatches
from cion_core.finetune.recipes.base import Recipe
from cion_core.runtime import Runtime
from cion_core.training.checkpoint import Checkpoints
from cion_core.training.learner import Learner, Rates
from cion_core.training.loop import train
from cion_core.training.sampler import ChunkSampler

NOTHING = Erasing(area=(0.1, 0.2), ratio=(1, 1), log=False, tries=1, fill=None, share=0.0)
STEPS, EVERY = 8, 3
CPU = torch.device("cpu")


def write(folder: Path, count: int) -> list[str]:
    rng = np.random.default_rng(0)
    paths = [str(folder / f"{number}.png") for number in range(count)]
    for path in paths:
        cv2.imwrite(path, rng.integers(0, 256, (40, 20, 3), dtype=np.uint8))
    return paths


@pytest.mark.parametrize("memory", [10**9, 0])
def test_images_are_read_in_the_way_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    monkeypatch.setattr(images, "CACHE", memory)
    paths = write(tmp_path, 3)
    read = Images(paths, [work.sha256(path) for path in paths], (30, 16), "bicubic")
    assert len(read) == 3
    for row in (2, 0, 2):
        wanted = Image.open(paths[row]).resize((16, 30), Image.Resampling.BICUBIC)
        assert np.array_equal(read(row), wanted)
    Path(paths[2]).unlink()
    if memory:
        assert read(2).shape == (30, 16, 3), "decoded once"
    else:
        with pytest.raises(CionError, match=r"2\.png: not a readable image"):
            read(2)


def test_an_item_is_a_processes_share_with_views_of_their_place_alone() -> None:
    recipe, _ = prepared("bag_of_tricks", {"batch": 6, "instances": 2}, "resnet10_ibn")
    made = MadeUp(4, 4)
    one = RecipeBatches(recipe, made, made.people, made.cameras, 5)
    both = [RecipeBatches(recipe, made, made.people, made.cameras, 5, rank, 3) for rank in range(3)]
    for step in (0, 5):
        whole, shares = one[step], [batches[step] for batches in both]
        assert whole.views[0].shape == (6, 3, 32, 16) and whole.instances == 2
        assert torch.equal(torch.cat([share.views[0] for share in shares]), whole.views[0])
        assert torch.equal(torch.cat([share.identities for share in shares]), whole.identities)
        rows, _ = one.sampler(step)
        for place, row in enumerate(rows):
            view = recipe.view(made(row), np.random.default_rng([5, 2, step, place]))
            assert np.array_equal(whole.views[0][place], view)
            assert whole.identities[place] == row % 4
    assert one.end_of_round(7) > 10**9, "one round"


class Sums(Learner):
    """Learns the mean of images; what it has learnt says whose they are."""

    name, advice = "sums", ""
    kept_network = property(lambda self: self)

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(()))

    def networks(self) -> list[nn.Module]:
        return []

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([{"params": [self.mean], "decays": False}], lr=0.1)

    def rates(self, step: int, steps: int) -> Rates:
        return Rates(0.1, 0.0)

    def forward(
        self, views: list[Tensor], instances: int, identities: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return (views[0].mean() + identities.float().mean() - self.mean).pow(2), {}


class Finds(Recipe):
    """Images fall into three kinds, one of them unknown; what is learnt decides which is which."""

    supervised, every = False, EVERY
    augmentation = property(lambda self: Augmentation(1, NOTHING))

    def __init__(self) -> None:
        self.mean, self.std, self.seed, self.asked = (0.0,) * 3, (1.0,) * 3, 0, []

    def steps(self, people: np.ndarray) -> int:
        return STEPS

    def sampler(self, people: np.ndarray, cameras: np.ndarray) -> ChunkSampler | Unknown:
        return Unknown(people) if (people < 0).all() else ChunkSampler(people, 2, 2, self.seed)

    def learner(self, backbone: nn.Module, people: np.ndarray) -> Sums:
        return Sums()

    def find_labels(self, learner: Sums, read: Images, cameras: np.ndarray) -> np.ndarray:
        mean = learner.mean.item()
        self.asked.append(mean)
        return (
            np.random.default_rng(int(1e6 * (1 + mean))).permutation(np.arange(len(read)) % 3) - 1
        )


class Unknown:
    """A sampler before the first labels are known, whose batches nobody asks for."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels

    def __call__(self, step: int) -> None:
        raise AssertionError(f"step {step} was asked for before anybody is known")


def run(folder: Path, stop: int = STEPS) -> tuple[list[dict], Finds, RecipeBatches]:
    recipe, made, rows = Finds(), MadeUp(4, 6), []
    batches = RecipeBatches(recipe, made, np.full(len(made), -1), made.cameras, 5)
    learner = recipe.learner(nn.Identity(), batches.people)
    for row in train(
        learner, batches, STEPS, CPU, Checkpoints(folder), Runtime(checkpoint_every=2)
    ):
        rows.append({**row, "people": batches.people.tolist()})
        if len(rows) == stop:
            break
    return rows, recipe, batches


def test_a_round_begins_with_labels_from_what_was_learnt_so_far(tmp_path: Path) -> None:
    rows, recipe, batches = run(tmp_path)
    assert len(recipe.asked) == 3 and len(set(recipe.asked)) == 3 and recipe.asked[0] == 0.0
    rounds = [row["people"] for row in rows]
    assert rounds[0] == rounds[1] == rounds[2] != rounds[3] == rounds[5] != rounds[6] == rounds[7]
    for step in (6, 7):
        chosen = batches.sampler(step)[0]
        assert (batches.people[chosen] >= 0).all(), "no image of nobody known"
        assert batches[step].identities.tolist() == batches.people[chosen].tolist()


@pytest.mark.parametrize(("stop", "asks"), [(3, 2), (4, 1), (5, 1), (6, 1), (7, 1)])
def test_a_run_that_goes_on_asks_no_sooner_and_changes_no_bit(
    tmp_path: Path, stop: int, asks: int
) -> None:
    whole, recipe, _ = run(tmp_path / "whole")
    run(tmp_path / "killed", stop)
    again, resumed, _ = run(tmp_path / "killed")
    trained = [{key: value for key, value in row.items() if key != "people"} for row in again]
    assert trained == [
        {key: value for key, value in row.items() if key != "people"} for row in whole
    ]
    assert again[-1]["people"] == whole[-1]["people"]
    assert resumed.asked == recipe.asked[len(recipe.asked) - asks :]
