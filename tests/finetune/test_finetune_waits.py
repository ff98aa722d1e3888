"""A step of fine-tuning must not wait for its device: on a CPU, calls that would are counted."""

import pytest
import torch
from dispatched import Waits, read_late
from recipe_run import MadeUp, prepared

from cion_core import zoo
from cion_core.finetune.features import extract_features
from cion_core.finetune.images import RecipeBatches
from cion_core.runtime import Runtime
from cion_core.training.checkpoint import Checkpoints
from cion_core.training.loop import train

SETTINGS = {
    "bag_of_tricks": {"epochs": 6, "batch": 8, "instances": 2},
    "mgn": {
        "epochs": 6,
        "warmup": 1,
        "flat": 2,
        "freeze": 1,
        "identities": 2,
        "instances": 4,
        "group": 4,
    },
    "cluster_contrast": {
        "epochs": 1,
        "iterations": 6,
        "identities": 2,
        "instances": 4,
        "neighbours": (8, 3),
        "group": None,
    },
}


class Loaded(RecipeBatches):
    """Batches whose items other processes have made."""

    def load(self, steps, workers, device):
        return [self[step] for step in steps]


@pytest.fixture
def rows(monkeypatch, tmp_path):
    """The rows of a training by a recipe, numbers read a step late, as on a GPU."""
    read_late(monkeypatch)

    def start(name):
        recipe, _ = prepared(name, SETTINGS[name], "resnet10_ibn")
        images = MadeUp(8, 12)
        images.size = recipe.size
        torch.manual_seed(1)
        learner = recipe.learner(zoo.create_model("resnet10_ibn", recipe.size), images.people)
        batches = Loaded(recipe, images, images.people, images.cameras, 3)
        runtime = Runtime(device="cpu")
        steps = recipe.steps(images.people)
        return train(learner, batches, steps, torch.device("cpu"), Checkpoints(tmp_path), runtime)

    return start


@pytest.mark.parametrize("name", SETTINGS)
def test_a_step_waits_for_nothing_but_the_numbers_of_the_step_before(rows, one_thread, name):
    running = rows(name)
    next(running)
    for _ in range(2):
        with Waits() as seen:
            next(running)
        assert seen.calls == {"tolist": 1}, "which reads what a GPU has copied long ago"


def test_features_of_all_images_are_made_without_compiling(one_thread):
    """Else a compiled network is compiled again, for evaluation and for the last batch's size."""
    compiled = []

    def note(graph, inputs):
        compiled.append(graph)
        return graph.forward

    torch.manual_seed(0)
    network, images = zoo.create_model("resnet10_ibn", (32, 16)), MadeUp(2, 2)
    images.size = (32, 16)
    given = images, (0.5,) * 3, (0.5,) * 3
    plain = extract_features(network, *given)
    network.compile(backend=note)
    assert (extract_features(network, *given) == plain).all() and not compiled
    network(torch.zeros(2, 3, 32, 16))
    assert compiled, "which it is where it trains"
