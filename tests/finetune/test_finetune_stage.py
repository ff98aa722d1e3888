"""The stage: a model folder that loads again, runs that go on, and recipes of one's own."""

import json
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import signalled
import torch
from safetensors.torch import load_file

from cion_core import zoo
from cion_core.errors import CionError
from cion_core.finetune import stage
from cion_core.finetune.settings import Finetune
from cion_core.training.batches import Item

BACKBONE = "resnet10_ibn"
PLAIN = "test_convnext"  # no batch norm, which sees only a process's own share
start, result = partial(signalled.start, "finetune"), partial(signalled.result, room="finetune")


def same(one, other):
    return one[1] == other[1] and one[0].keys() == other[0].keys() and all(
        torch.equal(one[0][key], other[0][key]) for key in one[0]
    )  # fmt: skip


def test_a_model_folder_with_card_and_history(data, settings, runtime, recorded):
    p = settings()
    stage.run(p, "cion", BACKBONE, runtime())
    folder = data / f"finetune/cion-{BACKBONE}"
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "history.csv", "model.safetensors"]
    model, card = zoo.load(folder)
    assert (card.method, card.backbone, card.image, card.built_by) == ("cion", BACKBONE, (32, 16), "")
    assert model(torch.zeros(2, 3, 32, 16)).shape == (2, card.num_features)
    made = card.extra["finetuned"]
    assert (made["recipe"], made["seed"], made["settings"]["steps"]) == ("bag_of_tricks", 3, 6)
    assert made["runtime"]["device"] == "cpu" and card.extra["seed"] == 0
    (run,) = recorded
    assert set(run.rows) == set(range(6)) and run.files == ["history.csv"] and run.example.shape == (1, 3, 32, 16)
    assert not list(Path(".cion/finetune").iterdir())


def test_runtime_is_no_part_of_the_work_key(data, settings, runtime, recorded, monkeypatch):
    keys = []
    monkeypatch.setattr("cion_core.work.key", lambda settings, *inputs: keys.append(settings) or "key")
    stage.run(settings(steps=1), "cion", BACKBONE, runtime())
    stage.run(settings(steps=1), "cion", BACKBONE, runtime(workers=1, precision="bfloat16"))
    assert keys[0] == keys[1] and keys[0]["settings"]["identities"] == 2


def test_runtime_changes_no_weight(data, settings, runtime, recorded):
    stage.run(settings(), "cion", BACKBONE, runtime())
    expected = result(data, "cion", BACKBONE)
    stage.run(settings(), "cion", BACKBONE, runtime(workers=2, accumulate=2, checkpoint_every=5))
    assert same(result(data, "cion", BACKBONE), expected)


def test_too_few_people(data, settings, runtime, recorded):
    with pytest.raises(CionError, match=r"parquet: 4 training people, but finetune\.bag_of_tricks\.identities .* 5 .*"):
        stage.run(settings(identities=5), "cion", BACKBONE, runtime())


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(data, settings, runtime, recorded, monkeypatch):
    whole = stage.Augmented.__getitem__

    def spoiled(self, step):
        item = whole(self, step)
        return Item(item.instances, item.identities, [view * (np.nan if step == 5 else 1) for view in item.views])

    monkeypatch.setattr(stage.Augmented, "__getitem__", spoiled)
    with pytest.raises(CionError, match=r"bag_of_tricks at step 5: loss nan.*finetune\.bag_of_tricks\.lr.*000000004"):
        stage.run(settings(), "cion", BACKBONE, runtime())
    assert not (data / "finetune").exists()


def test_sigkill_at_any_time_changes_no_bit(data, settings, runtime, recorded):
    p = settings()
    for step in (2, 4):
        killed = start(p, runtime(workers=1), "cion", BACKBONE, signal.SIGKILL, step)
        assert killed.returncode == -signal.SIGKILL and not (data / "finetune").exists()
    stage.run(p, "cion", BACKBONE, runtime())
    resumed = result(data, "cion", BACKBONE)
    stage.run(p, "cion", BACKBONE, runtime())
    assert same(result(data, "cion", BACKBONE), resumed)


def test_sigterm_ends_behind_a_checkpoint_and_says_how_to_go_on(data, settings, runtime, recorded, monkeypatch):
    p = settings()
    monkeypatch.setenv("DVC_STAGE", f"finetune@cion-{BACKBONE}")
    told = start(p, runtime(checkpoint_every=5, workers=2), "cion", BACKBONE, signal.SIGTERM, 2)
    assert told.returncode == 1 and "bag_of_tricks stopped by SIGTERM after 3 of 6 steps; run again" in told.stderr
    (folder,) = Path(".cion/finetune").iterdir()
    assert json.loads(Path(".cion/resume.json").read_text()) == {
        "stage": f"finetune@cion-{BACKBONE}", "method": "cion", "backbone": BACKBONE, "step": 3,
        "checkpoint": str(folder / "step-000000003.ckpt"),
    }  # fmt: skip
    stage.run(p, "cion", BACKBONE, runtime())
    resumed = result(data, "cion", BACKBONE)
    assert not Path(".cion/resume.json").exists()
    stage.run(p, "cion", BACKBONE, runtime())
    assert same(result(data, "cion", BACKBONE), resumed)


def test_two_processes_are_one_with_the_joined_batch(data, settings, runtime, recorded):
    p = settings(steps=4, lr=1e-3)
    both = start(p, runtime(), "cion", PLAIN, processes=2)
    assert both.returncode == 0, both.stderr
    assert "2 processes" in both.stdout
    weights, history = result(data, "cion", PLAIN)
    stage.run(p, "cion", PLAIN, runtime())
    alone, _ = result(data, "cion", PLAIN)
    # Neither loss sees a shift of all features: the last bias' gradient is rounding, which Adam makes a step of.
    for key in alone.keys() - {"head.norm.bias"}:
        torch.testing.assert_close(weights[key], alone[key], rtol=1e-5, atol=5e-5)
    Path("history.csv").write_bytes(history)
    found, wanted = (pd.read_csv(path) for path in ("history.csv", data / f"finetune/cion-{PLAIN}/history.csv"))
    pd.testing.assert_frame_equal(found, wanted, rtol=1e-5, atol=1e-5)
    begun = load_file(data / f"pretrain/cion-{PLAIN}/model.safetensors")
    assert max((alone[key] - begun[key]).abs().max() for key in alone) > 1e-3, "and something was learnt"


def test_people_that_cannot_be_shared_out(data, settings, runtime, recorded, monkeypatch):
    monkeypatch.setattr("cion_core.training.ranks.size", lambda: 3)
    monkeypatch.setattr("cion_core.training.ranks.rank", lambda: 0)
    with pytest.raises(
        CionError, match=r"finetune\.bag_of_tricks.* 4 cannot be shared out: 3 processes .*multiple of 6"
    ):
        stage.run(settings(), "cion", BACKBONE, runtime())


MINE = """
import torch
from torch import nn
from torch.nn import functional as F
from cion_core.config import Count, Section
from cion_core.finetune.recipes.base import Recipe
from cion_core.training.learner import Learner, Rates
from cion_core.training.sampler import PeopleSampler
from cion_core.zoo import create_model


class Reduced(nn.Module):
    def __init__(self, backbone, dim):
        super().__init__()
        self.backbone, self.reduce, self.num_features = backbone, nn.Linear(backbone.num_features, dim), dim

    def forward(self, images):
        return self.reduce(self.backbone(images))


class Fitted(Learner):
    name = "mine"
    advice = "lower the learning rate in the recipe"

    def __init__(self, model, people):
        super().__init__()
        self.model, self.classifier = model, nn.Linear(model.num_features, people)

    exported = property(lambda self: self.model)

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
    steps = property(lambda self: 2)
    image = property(lambda self: (48, 24))

    class Settings(Section):
        dim: Count

    def sampler(self, labels):
        return PeopleSampler(labels, 2, 2, self.p.seed)

    def augment(self, image, draws):
        assert image.shape == (48, 24, 3)
        return image[:, ::-1] if draws.random() < 0.5 else image

    def learner(self, backbone, people):
        return Fitted(Reduced(backbone, self.settings.dim), people)

    @classmethod
    def inference(cls, card):
        return Reduced(create_model(card.backbone, card.image), card.extra["finetuned"]["settings"]["dim"])
"""


def mine(module):
    return Finetune.model_validate({"recipe": f"{module}.Mine", "seed": 0, module: {"Mine": {"dim": 5}}})


def test_a_recipe_of_ones_own_is_one_file(data, runtime, recorded, workspace):
    (workspace / "my_recipes.py").write_text(MINE)
    stage.run(mine("my_recipes"), "cion", BACKBONE, runtime(workers=1))
    folder = data / f"finetune/cion-{BACKBONE}"
    model, card = zoo.load(folder)
    assert (card.image, card.num_features, card.built_by) == ((48, 24), 5, "my_recipes.Mine")
    images = [np.full((60, 30, 3), value, np.uint8) for value in (20, 200)]
    features = model(zoo.to_tensor(images, card))
    assert features.shape == (2, 5) and torch.equal(features, zoo.load(folder)[0](zoo.to_tensor(images, card)))
    assert not torch.equal(zoo.fresh(card).reduce.weight, model.reduce.weight)
    begun = load_file(data / f"pretrain/cion-{BACKBONE}/model.safetensors")
    assert any(not torch.equal(value, begun[key]) for key, value in model.backbone.state_dict().items())
    with pytest.raises(CionError, match=r"finetune\.recipe: unknown fine-tuning recipe 'mgn'; valid are bag_of_tricks"):
        stage.RECIPES.named("mgn")


def test_an_inference_module_that_does_not_fit(data, runtime, recorded, workspace):
    (workspace / "wrong_recipes.py").write_text(MINE.replace('["dim"])', '["dim"] + 1)'))
    with pytest.raises(CionError, match=r"wrong_recipes\.Mine: what it trained is not its inference.*other shape"):
        stage.run(mine("wrong_recipes"), "cion", BACKBONE, runtime())
    assert not (data / "finetune").exists()
