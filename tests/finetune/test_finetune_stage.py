"""The stage: a model folder that loads again, whatever the machine; what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from stages import BACKBONE, MODEL, result, same, train

from cion_core import zoo
from cion_core.errors import CionError
from cion_core.finetune.images import RecipeBatches
from cion_core.training.batches import Item


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


def test_people_that_cannot_be_shared_out(data, settings, runtime, recorded, monkeypatch):
    monkeypatch.setattr("cion_core.training.ranks.size", lambda: 3)
    monkeypatch.setattr("cion_core.training.ranks.rank", lambda: 0)
    with pytest.raises(
        CionError,
        match=r"finetune\.bag_of_tricks.* 4 cannot be shared out: 3 processes .*multiple of 6",
    ):
        train(settings(), BACKBONE, runtime(), data)
