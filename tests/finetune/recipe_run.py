"""A recipe trained by the loop alone, without the stage, on made-up people.

It is also a script, under torchrun.

python -m torch.distributed.run --nproc-per-node 2 recipe_run.py FILE: what FILE, as JSON, holds for
`train_recipe`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from cion_core import zoo
from cion_core.finetune.images import Images, RecipeBatches
from cion_core.finetune.recipes import RECIPES
from cion_core.finetune.recipes.base import Recipe
from cion_core.runtime import Runtime
from cion_core.training import ranks
from cion_core.training.checkpoint import Checkpoints
from cion_core.training.learner import Learner
from cion_core.training.loop import train
from cion_core.zoo.card import Card

SIZE = (32, 16)


class MadeUp(Images):
    """Images of people in one colour each, with noise: row r is of person r % `people`."""

    def __init__(self, people: int, each: int) -> None:
        self.count, self.each = people, each

    def __len__(self) -> int:
        return self.count * self.each

    def __call__(self, row: int) -> np.ndarray:
        colour = np.random.default_rng([0, row % self.count]).integers(40, 200, 3)
        noise = np.random.default_rng([1, row]).integers(-40, 40, (*SIZE, 3))
        return np.clip(colour + noise, 0, 255).astype(np.uint8)

    @property
    def people(self) -> np.ndarray:
        return np.arange(len(self)) % self.count

    @property
    def cameras(self) -> np.ndarray:
        return np.arange(len(self)) // self.count


def prepared(name: str, settings: dict, backbone: str) -> tuple[Recipe, Card]:
    """A recipe that is ready for a backbone of SIZE, and the backbone's card."""
    part = RECIPES.named(name)
    recipe = part(part.Settings.model_validate({"image": SIZE, **settings}), seed=3)
    width = zoo.create_model(backbone, SIZE).num_features
    card = Card(backbone, "cion", SIZE, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), width)
    recipe.prepare(card)
    return recipe, card


def train_recipe(
    name: str, settings: dict, folder: str, backbone: str = "resnet10_ibn",
    people: int = 4, each: int = 4, stop: int | None = None, **runtime: object,
) -> tuple[Learner, list[dict], Recipe, Card]:  # fmt: skip
    """Train up to step `stop`, then end as if killed; resume from checkpoints in `folder`."""
    recipe, card = prepared(name, settings, backbone)
    images = MadeUp(people, each)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        learner = recipe.learner(zoo.create_model(backbone, SIZE), images.people)
        batches = RecipeBatches(
            recipe, images, images.people, images.cameras, 3, ranks.rank(), ranks.size()
        )
        ran = Runtime(**{"checkpoint_every": 2, **runtime})
        steps, rows = recipe.steps(images.people), []
        for row in train(learner, batches, steps, torch.device("cpu"), Checkpoints(folder), ran):
            rows.append(row)
            if len(rows) == stop:
                break
    return learner, rows, recipe, card


def in_processes(count: int, **given: object) -> tuple[dict[str, torch.Tensor], list[dict]]:
    """`train_recipe` in so many processes, with what it is given.

    Returns the weights of all, and the history.
    """
    folder = Path(str(given["folder"]))
    folder.mkdir(parents=True)
    (folder / "given.json").write_text(json.dumps(given))
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            str(count),
            __file__,
            str(folder / "given.json"),
        ],
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return load_file(folder / "learner.safetensors"), json.loads(
        (folder / "history.json").read_text()
    )


def main(file: Path) -> None:
    torch.set_num_threads(1)
    given = json.loads(file.read_text())
    with ranks.together("cpu"):
        learner, rows, *_ = train_recipe(**given)
        if ranks.rank() == 0:
            save_file({key: value.contiguous() for key, value in learner.state_dict().items()},
                      file.with_name("learner.safetensors"))  # fmt: skip
            file.with_name("history.json").write_text(json.dumps(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
