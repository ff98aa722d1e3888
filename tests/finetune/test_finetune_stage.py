"""The stage: a model folder that loads again, runs that go on, and recipes of one's own."""

import json
import shutil
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
from cion_core.finetune import stage, start
from cion_core.finetune.images import RecipeBatches
from cion_core.finetune.settings import Finetune
from cion_core.training.batches import Item

BACKBONE = "resnet10_ibn"
PLAIN = "test_convnext"  # no batch norm, which sees only a process's own share
MODEL = f"finetune/tuned/cion-{BACKBONE}"
WHAT = ("tuned", "cion", BACKBONE)
in_processes, result = (
    partial(signalled.start, "finetune"),
    partial(signalled.result, method="cion", room="finetune/tuned"),
)


def train(p, backbone, runtime, data):
    """The two stages of the run `tuned`, one after the other."""
    start.run(p, "tuned", data)
    stage.run(p, "tuned", "cion", backbone, runtime, data)


def same(one, other):
    return one[1] == other[1] and one[0].keys() == other[0].keys() and all(
        torch.equal(one[0][key], other[0][key]) for key in one[0]
    )  # fmt: skip


def test_a_model_folder_with_card_and_history(data, settings, runtime, recorded):
    p = settings()
    train(p, BACKBONE, runtime(), data)
    folder = data / MODEL
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.json",
        "history.csv",
        "model.safetensors",
    ]
    model, card = zoo.load(folder)
    assert (card.method, card.backbone, card.image, card.built_by) == (
        "cion",
        BACKBONE,
        (32, 16),
        "",
    )
    assert model(torch.zeros(2, 3, 32, 16)).shape == (2, card.num_features)
    made = card.extra["finetuned"]
    assert (made["recipe"], made["seed"], made["settings"]["epochs"]) == ("bag_of_tricks", 3, 3)
    assert (made["run"], made["sources"], made["supervised"], made["labels"]) == (
        "tuned",
        ["set"],
        True,
        True,
    )
    assert (card.mean, card.std, card.resize) == ((0.5,) * 3, (0.5,) * 3, "bilinear"), (
        "how it was trained, not before"
    )
    assert made["runtime"]["device"] == "cpu" and card.extra["seed"] == 0
    took = json.loads((data / "costs" / f"{MODEL}.json").read_text())
    assert (took["device"], took["processes"]) == ("cpu", 1) and took["seconds"] > 0
    (run,) = recorded
    assert (
        set(run.rows) == set(range(6))
        and run.files == ["history.csv"]
        and run.example.shape == (1, 3, 32, 16)
    )
    assert not list(Path(".cion/finetune").iterdir())


def test_runtime_is_no_part_of_the_work_key(data, settings, runtime, recorded, monkeypatch):
    keys = []
    monkeypatch.setattr(
        "cion_core.work.key", lambda settings, *inputs: keys.append(settings) or "key"
    )
    train(settings(epochs=1), BACKBONE, runtime(), data)
    train(settings(epochs=1), BACKBONE, runtime(workers=1, precision="bfloat16"), data)
    assert keys[0] == keys[1] and keys[0]["settings"]["instances"] == 2


def test_runtime_changes_no_weight(data, settings, runtime, recorded):
    train(settings(), BACKBONE, runtime(), data)
    expected = result(data, backbone=BACKBONE)
    train(settings(), BACKBONE, runtime(workers=2, accumulate=2, checkpoint_every=5), data)
    assert same(result(data, backbone=BACKBONE), expected)


def test_too_few_people_for_a_batch_are_refused(data, settings, runtime, recorded):
    with pytest.raises(
        CionError,
        match=r"runs\.tuned, on .*parquet: 4 training people, and .*batch is 10, .*4 to 8",
    ):
        train(settings(batch=10), BACKBONE, runtime(), data)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(
    data, settings, runtime, recorded, monkeypatch
):
    whole = RecipeBatches.__getitem__

    def spoiled(self, step):
        item = whole(self, step)
        return Item(
            item.instances,
            item.identities,
            [view * (np.nan if step == 5 else 1) for view in item.views],
        )

    monkeypatch.setattr(RecipeBatches, "__getitem__", spoiled)
    with pytest.raises(
        CionError,
        match=r"bag_of_tricks at step 5: loss nan.*finetune\.bag_of_tricks\.lr.*000000004",
    ):
        train(settings(), BACKBONE, runtime(), data)
    assert not (data / "finetune").exists()


def test_sigkill_at_any_time_changes_no_bit(data, settings, runtime, recorded):
    p = settings()
    start.run(p, "tuned", data)
    for step in (2, 4):
        killed = in_processes(p, runtime(workers=1), *WHAT, number=signal.SIGKILL, step=step)
        assert killed.returncode == -signal.SIGKILL and not (data / "finetune").exists()
    train(p, BACKBONE, runtime(), data)
    resumed = result(data, backbone=BACKBONE)
    train(p, BACKBONE, runtime(), data)
    assert same(result(data, backbone=BACKBONE), resumed)


def test_sigterm_ends_behind_a_checkpoint_and_says_how_to_go_on(
    data, settings, runtime, recorded, monkeypatch
):
    p = settings()
    monkeypatch.setenv("DVC_STAGE", f"finetune@cion-{BACKBONE}")
    start.run(p, "tuned", data)
    told = in_processes(
        p, runtime(checkpoint_every=5, workers=2), *WHAT, number=signal.SIGTERM, step=2
    )
    assert (
        told.returncode == 1
        and "bag_of_tricks stopped by SIGTERM after 3 of 6 steps; run again" in told.stderr
    )
    (folder,) = Path(".cion/finetune").iterdir()
    assert json.loads(Path(".cion/resume.json").read_text()) == {
        "stage": f"finetune@cion-{BACKBONE}",
        "method": "cion",
        "backbone": BACKBONE,
        "run": "tuned",
        "recipe": "bag_of_tricks",
        "benchmark": "set",
        "step": 3,
        "checkpoint": str(folder / "step-000000003.ckpt"),
    }
    train(p, BACKBONE, runtime(), data)
    resumed = result(data, backbone=BACKBONE)
    assert not Path(".cion/resume.json").exists()
    train(p, BACKBONE, runtime(), data)
    assert same(result(data, backbone=BACKBONE), resumed)


def test_two_processes_are_one_with_the_joined_batch(data, settings, runtime, recorded):
    p = settings(epochs=2, lr=1e-3)
    start.run(p, "tuned", data)
    both = in_processes(p, runtime(), "tuned", "cion", PLAIN, processes=2)
    assert both.returncode == 0, both.stderr
    assert "2 processes" in both.stdout
    weights, history = result(data, backbone=PLAIN)
    train(p, PLAIN, runtime(), data)
    alone, _ = result(data, backbone=PLAIN)
    # Neither loss sees a shift of all features: the last bias' gradient is rounding, which Adam
    # makes a step of.
    for key in alone.keys() - {"head.norm.bias"}:
        torch.testing.assert_close(weights[key], alone[key], rtol=1e-5, atol=5e-5)
    Path("history.csv").write_bytes(history)
    found, wanted = (
        pd.read_csv(path)
        for path in ("history.csv", data / f"finetune/tuned/cion-{PLAIN}/history.csv")
    )
    pd.testing.assert_frame_equal(found, wanted, rtol=1e-5, atol=1e-5)
    begun = load_file(data / f"pretrain/cion-{PLAIN}/model.safetensors")
    assert max((alone[key] - begun[key]).abs().max() for key in alone) > 1e-3, (
        "and something was learnt"
    )


def test_people_that_cannot_be_shared_out(data, settings, runtime, recorded, monkeypatch):
    monkeypatch.setattr("cion_core.training.ranks.size", lambda: 3)
    monkeypatch.setattr("cion_core.training.ranks.rank", lambda: 0)
    with pytest.raises(
        CionError,
        match=r"finetune\.bag_of_tricks.* 4 cannot be shared out: 3 processes .*multiple of 6",
    ):
        train(settings(), BACKBONE, runtime(), data)


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


def test_start_lays_out_images_numbers_and_models(data, settings):
    start.run(settings(), "tuned", data)
    folder = data / "start/tuned"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"cion-{BACKBONE}.json", f"cion-{PLAIN}.json", "images.parquet", "run.json",
    ]  # fmt: skip
    told = json.loads((folder / "run.json").read_text())
    assert (told["recipe"], told["on"], told["from"], told["supervised"]) == (
        "bag_of_tricks",
        "set",
        "pretrain",
        True,
    )
    assert told["settings"]["epochs"] == 3 and told["seed"] == 3
    before = (folder / f"cion-{PLAIN}.json").read_bytes()
    path = data / f"pretrain/cion-{BACKBONE}/card.json"
    path.write_text(path.read_text().replace('"cion"', '"cion2"'))
    other = (folder / f"cion-{BACKBONE}.json").read_bytes()
    start.run(settings(), "tuned", data)
    assert (folder / f"cion-{PLAIN}.json").read_bytes() == before, "nothing of it has changed"
    assert (folder / f"cion-{BACKBONE}.json").read_bytes() != other
    with pytest.raises(CionError, match=r"finetune\.runs: no run other; there are tuned"):
        start.run(settings(), "other", data)
    with pytest.raises(
        CionError,
        match=rf"start/tuned/lup-{BACKBONE}\.json: no such file; valid: one of cion-{BACKBONE}",
    ):
        stage.run(settings(), "tuned", "lup", BACKBONE, root=data)
    shutil.rmtree(data / "pretrain")
    with pytest.raises(CionError, match=r"data/pretrain: no model folders"):
        start.run(settings(), "tuned", data)


def test_an_inference_module_that_does_not_fit(data, runtime, recorded, workspace):
    (workspace / "wrong_recipes.py").write_text(MINE.replace('["dim"]', '["dim"] + 1'))
    with pytest.raises(
        CionError, match=r"wrong_recipes\.Mine: what it trained is not its inference.*other shape"
    ):
        train(mine("wrong_recipes"), BACKBONE, runtime(), data)
    assert not (data / "finetune").exists()
