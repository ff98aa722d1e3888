"""The customary recipe: the same weights as its published loop written out, and what it watches."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from cion_core import tables, zoo
from cion_core.finetune import stage
from cion_core.finetune.augment import augment
from cion_core.finetune.images import Images
from cion_core.finetune.losses import batch_hard_triplet
from cion_core.finetune.recipes.bag_of_tricks import Neck
from cion_core.training.sampler import PeopleSampler

BACKBONE = "resnet10_ibn"


def literal(folder, images, s, seed):
    """The recipe as one loop, with nothing of the shared one; the weights and the losses."""
    model, card = zoo.load(folder)
    labels, people = pd.factorize(images.person, sort=True)
    read = Images(images.path.tolist(), card.image)
    torch.manual_seed(seed)
    neck = Neck(model.num_features, len(people)).train()
    model.train()
    learning = [w for part in (model, neck) for w in part.parameters() if w.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=s.lr, weight_decay=s.weight_decay)
    sampler, losses = PeopleSampler(labels, s.identities, s.instances, seed), []
    warm = max(1, round(0.1 * s.steps))
    for step in range(s.steps):
        rows, _ = sampler(step)
        changed = [augment(read(row), np.random.default_rng([seed, 2, step, i])) for i, row in enumerate(rows)]
        target = torch.from_numpy(labels[rows])
        past = math.pi * (step - warm) / max(1, s.steps - warm)
        rate = s.lr * (step + 1) / warm if step < warm else s.lr * 0.5 * (1 + math.cos(past))
        for group in optimizer.param_groups:
            group["lr"] = rate
        features = model(zoo.to_tensor(changed, card))
        loss = cross_entropy(neck(features), target, label_smoothing=s.smoothing)
        loss = loss + batch_hard_triplet(features, target, s.margin)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model.state_dict(), losses


@pytest.mark.parametrize("steps", [1, 3, 12])
def test_the_weights_are_those_of_the_loop_written_out(data, settings, runtime, recorded, steps):
    p = settings(steps=steps, identities=3)
    images = tables.read(tables.Benchmark, data / "benchmark/images.parquet")
    expected, losses = literal(data / f"pretrain/cion-{BACKBONE}", images, p.settings("bag_of_tricks"), p.seed)
    stage.run(p, "cion", BACKBONE, runtime())
    found = load_file(data / f"finetune/cion-{BACKBONE}/model.safetensors")
    assert found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in expected)
    history = pd.read_csv(data / f"finetune/cion-{BACKBONE}/history.csv")
    assert history.loss.tolist() == losses


def test_it_learns(data, settings, runtime, recorded):
    stage.run(settings(steps=60, identities=3), "cion", BACKBONE, runtime())
    history = pd.read_csv(data / f"finetune/cion-{BACKBONE}/history.csv")
    assert history.step.tolist() == list(range(60))
    assert history.loss[-5:].mean() < 0.7 * history.loss[:5].mean() and history.accuracy[-5:].mean() > 0.7
    (run,) = recorded
    assert {"identity_loss", "triplet_loss", "accuracy", "lr", "images_per_second"} <= set(run.rows[0])


def test_the_rate_rises_then_falls_without_a_jump(settings):
    from cion_core.finetune.recipes.bag_of_tricks import BagOfTricks

    p = settings(steps=100, lr=1.0)
    backbone = zoo.create_model(BACKBONE, (32, 16))
    learner = BagOfTricks(p).learner(backbone, 4)
    rates = np.array([learner.rates(step, 100).lr for step in range(100)])
    assert rates.argmax() == 9 or rates.argmax() == 10
    assert rates[0] == 0.1 and 0 < rates[-1] < 1e-3
    assert np.abs(np.diff(rates)).max() <= 0.1 + 1e-9


def test_lower_precision_learns_too(data, settings, runtime, recorded):
    p = settings(steps=3)
    stage.run(p, "cion", BACKBONE, runtime())
    plain = pd.read_csv(data / f"finetune/cion-{BACKBONE}/history.csv")
    weights = load_file(data / f"finetune/cion-{BACKBONE}/model.safetensors")
    stage.run(p, "cion", BACKBONE, runtime(precision="bfloat16"))
    lower = pd.read_csv(data / f"finetune/cion-{BACKBONE}/history.csv")
    half = load_file(data / f"finetune/cion-{BACKBONE}/model.safetensors")
    assert {value.dtype for value in half.values() if value.is_floating_point()} == {torch.float32}
    assert any(not torch.equal(half[key], weights[key]) for key in weights)
    np.testing.assert_allclose(lower.loss[0], plain.loss[0], rtol=0.1)
