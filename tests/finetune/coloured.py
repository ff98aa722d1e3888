"""Made-up people in two colours, and Cluster Contrast on them, small enough for tests.

Run as a program it trains in the folder that it is given, under torchrun in several processes.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from cion_core import work, zoo
from cion_core.finetune.images import Images, RecipeBatches
from cion_core.finetune.recipes.cluster_contrast import ClusterContrast, ClusterContrastLearner
from cion_core.runtime import Runtime
from cion_core.training import ranks
from cion_core.training.checkpoint import Checkpoints
from cion_core.training.loop import train

BACKBONE, SIZE, SEED = "resnet10_ibn", (32, 16), 3
SMALL = {
    "image": SIZE,
    "epochs": 2,
    "iterations": 4,
    "identities": 4,
    "instances": 4,
    "lr": 0.01,
    "decay_every": 1,
    "neighbours": (8, 3),
    "group": 8,
}
CARD = zoo.Card(BACKBONE, "made up", (64, 32), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 256)


def draw(folder: Path, people: int = 8, each: int = 12) -> None:
    """Files PERSON-CAMERA-NUMBER.png: a jacket and trousers of two colours.

    Three cameras see them a little apart.
    """
    rng = np.random.default_rng(0)
    for person in range(people):
        colours = np.repeat(rng.integers(20, 236, (2, 1, 3)), 20, axis=0)
        for number in range(each):
            camera = number % 3
            seen = colours + 10 * camera + rng.normal(0, 10, 3) + rng.normal(0, 25, (40, 20, 3))
            cv2.imwrite(
                str(folder / f"{person}-{camera}-{number}.png"),
                np.clip(seen, 0, 255).astype(np.uint8),
            )


@dataclass
class Run:
    """One training on the images of a folder, and what it was given."""

    recipe: ClusterContrast
    learner: ClusterContrastLearner
    batches: RecipeBatches
    people: np.ndarray
    folder: Path

    def rows(self, **runtime: object) -> list[dict[str, float]]:
        """Its history, to the end; goes on from the checkpoints in the folder."""
        steps = self.recipe.steps(self.batches.people)
        how = Runtime(**{"device": "cpu", "checkpoint_every": 1} | runtime)
        return list(
            train(
                self.learner,
                self.batches,
                steps,
                torch.device("cpu"),
                Checkpoints(self.folder / "work"),
                how,
            )
        )

    def weights(self) -> dict[str, torch.Tensor]:
        return {key: value.clone() for key, value in self.learner.state_dict().items()}


def begin(folder: Path, **changes: object) -> Run:
    """A training from fresh weights, always the same."""
    files = sorted(folder.glob("*.png"))
    person, camera = np.array([path.stem.split("-")[:2] for path in files], np.int64).T
    recipe = ClusterContrast(ClusterContrast.Settings(**SMALL | changes), SEED)
    recipe.prepare(CARD)
    torch.manual_seed(1)
    unknown = np.full(len(files), -1)
    learner = recipe.learner(zoo.create_model(BACKBONE, SIZE), unknown)
    digests = [work.sha256(path) for path in files]
    images = Images([str(path) for path in files], digests, recipe.size, recipe.resizing[0])
    batches = RecipeBatches(recipe, images, unknown, camera, SEED, ranks.rank(), ranks.size())
    return Run(recipe, learner, batches, person, folder)


def card(run: Run) -> zoo.Card:
    """Of the model that a run has trained, as the stage writes it."""
    r = run.recipe
    extra = {"finetuned": {"settings": r.settings.model_dump(mode="json")}}
    known = asdict(CARD) | {
        "image": r.size,
        "mean": r.mean,
        "std": r.std,
        "resize": r.resizing[1],
        "extra": extra,
    }
    return zoo.Card(**known | {"built_by": r.built_by()})


if __name__ == "__main__":
    torch.set_num_threads(1)
    with ranks.together("cpu"):
        trained = begin(Path(sys.argv[1]), epochs=3)
        history = trained.rows()
        if ranks.rank() == 0:
            torch.save(
                {
                    "weights": trained.weights(),
                    "history": history,
                    "labels": trained.batches.people.tolist(),
                },
                Path(sys.argv[1]) / "both.pt",
            )
