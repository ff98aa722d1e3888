"""Recipes of one's own: one file each, with models that go from run to run."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stages import BACKBONE, MODEL, train

from cion_core import zoo
from cion_core.errors import CionError
from cion_core.finetune import stage, start
from cion_core.finetune.settings import Finetune

MINE = """
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from cion_core.config import Count, Section
from cion_core.finetune.recipes.base import Recipe
from cion_core.training.learner import Learner, Rates
from cion_core.training.sampler import ChunkSampler
from cion_core.zoo import create_model


class Reduced(nn.Module):
    def __init__(self, backbone, dim):
        super().__init__()
        self.backbone = backbone
        self.reduce = nn.Linear(backbone.num_features, dim)
        self.num_features = dim

    def forward(self, images):
        return self.reduce(self.backbone(images))


class Fitted(Learner):
    name = "mine"
    advice = "lower the learning rate in the recipe"

    def __init__(self, model, people):
        super().__init__()
        self.model, self.classifier = model, nn.Linear(model.num_features, people)

    kept_network = property(lambda self: self.model)

    def networks(self):
        return [self.model.backbone]

    def optimizer(self):
        return torch.optim.SGD([{"params": list(self.parameters()), "decays": True}], lr=0.1)

    def rates(self, step, steps):
        return Rates(0.1, 0.0)

    def forward(self, views, instances, identities):
        return F.cross_entropy(self.classifier(self.model(views[0])), identities), {}


class Mine(Recipe):
    about = "A narrow feature of larger images"
    augmentation = None

    class Settings(Section):
        image: tuple[int, int] = (48, 24)
        dim: Count

    def steps(self, people):
        return 2

    def sampler(self, people, cameras):
        pairs = np.arange(len(people)) // 2
        return ChunkSampler(np.where(people < 0, pairs, people), 2, 2, self.seed)

    def view(self, image, draws):
        assert image.shape == (48, 24, 3)
        seen = image[:, ::-1] if draws.random() < 0.5 else image
        return seen.transpose(2, 0, 1).astype("float32") / 255

    def learner(self, backbone, people):
        return Fitted(Reduced(backbone, self.settings.dim), max(people.max() + 1, len(people) // 2))

    @classmethod
    def inference(cls, card):
        dim = card.extra["finetuned"]["settings"]["dim"]
        return Reduced(create_model(card.backbone, card.image), dim)
"""
# told of nobody: pairs of images stand for people
BLIND = """supervised, every = False, 1

    def find_labels(self, learner, images, cameras):
        return np.arange(len(images)) // 2

    about ="""


def mine(module):
    runs = {"tuned": {"recipe": f"{module}.Mine", "on": "set", "from": "pretrain"}}
    return Finetune.model_validate({"runs": runs, "seed": 0, module: {"Mine": {"dim": 5}}})


def test_a_recipe_of_ones_own_is_one_file(data, runtime, recorded, workspace):
    (workspace / "my_recipes.py").write_text(MINE)
    train(mine("my_recipes"), BACKBONE, runtime(workers=1), data)
    folder = data / MODEL
    model, card = zoo.load(folder)
    assert (card.image, card.num_features, card.built_by) == ((48, 24), 5, "my_recipes.Mine")
    images = [np.full((60, 30, 3), value, np.uint8) for value in (20, 200)]
    features = model(zoo.to_tensor(images, card))
    assert features.shape == (2, 5) and torch.equal(
        features, zoo.load(folder)[0](zoo.to_tensor(images, card))
    )
    assert not torch.equal(zoo.fresh(card).reduce.weight, model.reduce.weight)
    begun = load_file(data / f"pretrain/cion-{BACKBONE}/model.safetensors")
    assert any(
        not torch.equal(value, begun[key]) for key, value in model.backbone.state_dict().items()
    )
    with pytest.raises(
        CionError,
        match=r"finetune\.runs: unknown fine-tuning recipe 'gan'; valid are bag_of_tricks",
    ):
        stage.RECIPES.named("gan")


def test_a_run_starts_from_the_models_of_another(data, settings, runtime, recorded, workspace):
    """The second run's models come from the first.

    It is told of no person, and its card says what was seen.
    """
    second = {"recipe": "blind.Blind", "on": "set", "from": "finetune/tuned"}
    (workspace / "blind.py").write_text(
        MINE.replace("class Mine", "class Blind").replace("about =", BLIND, 1)
    )
    p = settings()
    p = Finetune.model_validate(
        p.own()
        | {
            "runs": p.own()["runs"] | {"second": second},
            "bag_of_tricks": p.bag_of_tricks.model_dump(),
            "blind": {"Blind": {"dim": 5}},
        }
    )
    train(p, BACKBONE, runtime(), data)
    start.run(p, "second", data)
    told = json.loads((data / "start/second" / f"cion-{BACKBONE}.json").read_text())
    assert told["folder"] == f"finetune/tuned/cion-{BACKBONE}"
    stage.run(p, "second", "cion", BACKBONE, runtime(), data)
    made = zoo.load(data / f"finetune/second/cion-{BACKBONE}")[1].extra["finetuned"]
    assert (made["run"], made["sources"], made["supervised"], made["labels"]) == (
        "second",
        ["set", "set"],
        False,
        True,
    )
    other = settings().own() | {
        "runs": {
            "third": {"recipe": "bag_of_tricks", "on": "set", "from": "finetune/second"},
            "second": second | {"from": "pretrain"},
        }
    }
    p = Finetune.model_validate(
        other
        | {"bag_of_tricks": settings().bag_of_tricks.model_dump(), "blind": {"Blind": {"dim": 5}}}
    )
    start.run(p, "third", data)
    with pytest.raises(
        CionError,
        match=r"runs\.third\.from: .* holds more than a backbone, which blind\.Blind builds",
    ):
        stage.run(p, "third", "cion", BACKBONE, runtime(), data)


def test_an_inference_module_that_does_not_fit(data, runtime, recorded, workspace):
    (workspace / "wrong_recipes.py").write_text(MINE.replace('["dim"]', '["dim"] + 1'))
    with pytest.raises(
        CionError, match=r"wrong_recipes\.Mine: what it trained is not its inference.*other shape"
    ):
        train(mine("wrong_recipes"), BACKBONE, runtime(), data)
    assert not (data / "finetune").exists()
