"""A miniature of what the finetune stage reads, and its parameters."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from cion_core import tables, work, zoo
from cion_core.finetune.settings import Finetune

PEOPLE, EACH, SIZE = 4, 3, (32, 16)
# Two batches an epoch: each of the four people has one chunk of two images; the third is dropped.
TRICKS = {"image": None, "epochs": 3, "batch": 4, "instances": 2, "lr": 1e-2}


@pytest.fixture(autouse=True)
def threads(one_thread) -> None:
    """Of every test here."""


@pytest.fixture
def settings() -> Callable[..., Finetune]:
    """The section `finetune` at a size for tests, with what a test changes in the recipe."""
    runs = {"tuned": {"recipe": "bag_of_tricks", "on": "set", "from": "pretrain"}}
    return lambda **changes: Finetune.model_validate(
        {"seed": 3, "runs": runs, "bag_of_tricks": TRICKS | changes}
    )


@pytest.fixture
def data(workspace: Path) -> Path:
    """data/ of a benchmark `set`, four people in three images each, and two pre-trained kinds."""
    root, rng, rows = workspace / "data", np.random.default_rng(0), []
    for person in range(1, PEOPLE + 1):
        colour = rng.integers(40, 200, 3)
        for number in range(EACH):
            path = root / f"benchmark/set/{person}-{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(
                str(path),
                np.clip(colour + rng.integers(-40, 40, (40, 20, 3)), 0, 255).astype(np.uint8),
            )
            image = {"path": str(path), "sha256": work.sha256(path)}
            rows.append({**image, "split": "train", "person": person, "camera": number + 1})
    tables.write(tables.Benchmark, pd.DataFrame(rows), root / "benchmark/set/images.parquet")
    torch.manual_seed(1)
    # The second backbone has no batch norm.
    for backbone, size in (("resnet10_ibn", SIZE), ("test_convnext", (64, 64))):
        model = zoo.create_model(backbone, size)
        card = zoo.Card(
            backbone,
            "cion",
            size,
            (0.5, 0.4, 0.3),
            (0.2, 0.25, 0.3),
            model.num_features,
            {"seed": 0},
        )
        zoo.save(root / f"pretrain/cion-{backbone}", model, card)
    return root
