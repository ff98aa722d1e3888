"""The facts measured on the published models, and their weights made again."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rule_made import fill

from cion_core.zoo import names

# One of each structure; the rest take minutes: pytest -m slow tests/zoo
FIRST = [members[0] for members in names.STRUCTURES.values()]
ALL = [name if name in FIRST else pytest.param(name, marks=pytest.mark.slow) for name in names.ZOO]


@pytest.fixture(scope="session")
def facts() -> dict:
    path = Path(__file__).parents[3] / "shared/data/reidzoo_facts.json.gz"
    if not path.exists():
        pytest.skip(f"no facts of the published models: {path} is absent")
    with gzip.open(path) as file:
        return json.load(file)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "each" in metafunc.fixturenames:
        metafunc.parametrize("each", ALL)


@pytest.fixture(scope="session")
def published(facts: dict) -> Callable[[str], dict[str, torch.Tensor]]:
    """By name, a state dict of the published keys, shapes and dtypes, filled by the rule.

    Integers are zero.
    """

    def state(name: str) -> dict[str, torch.Tensor]:
        rows = facts["models"][name]["state"]
        made = {
            key: torch.as_tensor(fill(key, shape))
            for key, shape, kind in rows
            if kind.startswith("float")
        }
        return {
            key: made[key] if key in made else torch.zeros(shape, dtype=torch.int64)
            for key, shape, _ in rows
        }

    return state
