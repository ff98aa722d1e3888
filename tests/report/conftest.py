"""A made-up data folder of every stage before `compare`, and the page of it.

It holds crops, levels, four methods, two benchmarks and three runs.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from made_footage import audited, denoise, footage
from made_models import BACKBONE, BENCHMARKS, METHODS, RUNS, benchmark, training
from page_reader import render

from cion_core import config, params, project, tracking, work


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """A complete, read-only `data` folder."""
    root = tmp_path_factory.mktemp("report") / "data"
    make(root)
    return root


@pytest.fixture
def make_data():
    """The maker itself, for a test that wants another folder."""
    return make


@pytest.fixture
def copy(data, tmp_path, monkeypatch) -> Path:
    """A copy to write reports into, which records nothing outside but that a page is due."""
    monkeypatch.setattr(
        tracking, "close_parent_run", lambda rows, page, numbers, note: page.read_bytes()
    )
    monkeypatch.setattr(tracking, "show_models", list)
    return Path(shutil.copytree(data, tmp_path / "data"))


@pytest.fixture(scope="session")
def settings() -> project.Params:
    file = Path(__file__).parents[2] / params.FILE
    values = params.read(file)
    values["benchmark"] = {"sources": BENCHMARKS, "layout": "market1501", "market1501": {}}
    values["finetune"] = {"seed": 0, "runs": RUNS, "bag_of_tricks": {}}
    values["pretrain"] |= {"methods": list(METHODS), "backbones": [BACKBONE]}
    return config.checked(values, project.Params, file)


@pytest.fixture(scope="session")
def text(data, settings) -> str:
    """The page of `data`."""
    return render(data, settings)


def make(root: Path, truth: bool = True) -> None:
    """Write the fake outputs of every stage from ingest to evaluate.

    The stages are ingest, extract, embed, denoise, audit, benchmark, pretrain, finetune and
    evaluate.
    """
    rng = np.random.default_rng(0)
    table = footage(root, rng)
    denoise(root, table)
    audited(root, table, truth)
    benchmark(root, rng)
    training(root, rng)
    work.write_json(root / "listing/studies.json", {})
