"""Crops and features made up for denoising: functions, and fixtures for conftest files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cion_core import tables


def scene(people: int = 6, videos: int = 3) -> tuple[pd.DataFrame, np.ndarray]:
    """Everybody walks through every video, two at a time."""
    rng = np.random.default_rng(0)
    looks, rows, features = rng.normal(size=(people, 16)), [], []
    for video in range(videos):
        for person in range(people):
            for step in range(4):
                x = 40.0 * person
                rows.append(
                    (
                        f"cam/{video}.mp4",
                        4 * (person // 2) + step,
                        video * people + person + 1,
                        x,
                        0.0,
                    )
                )
                features.append(looks[person] + 0.25 * rng.normal(size=16))
    crops = pd.DataFrame(rows, columns=["video", "frame", "tracklet", "x1", "y1"])
    crops = crops.assign(x2=crops.x1 + 30, y2=60.0, confidence=0.9)
    crops.insert(0, "crop", np.arange(len(crops))[::-1] + 7)
    return crops, np.array(features, np.float16)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with crops.parquet and features.npy, and no project around it."""
    monkeypatch.chdir(tmp_path)
    crops, features = scene()
    crops.to_parquet("crops.parquet", index=False)
    np.save("features.npy", features)
    return tmp_path


def world(
    seed: int, people: int = 5, videos: int = 3, noise: float = 0.3
) -> tuple[pd.DataFrame, np.ndarray]:
    """Each person in each video, some in two tracklets, some crops of somebody else.

    Crop numbers have gaps.
    """
    rng = np.random.default_rng(seed)
    looks = rng.normal(size=(people, 8))
    rows = [
        (f"v{v}", frame, 10 * (v * people + person) + int(frame >= 3 and person % 2), person)
        for v in range(videos) for person in range(people) for frame in range(person % 3, 6)
    ]  # fmt: skip
    crops = pd.DataFrame(rows, columns=["video", "frame", "tracklet", "person"])
    shown = np.where(
        rng.random(len(crops)) < 0.1, rng.integers(people, size=len(crops)), crops.person
    )
    features = looks[shown] + noise * rng.normal(size=(len(crops), 8))
    return crops.drop(columns="person").assign(crop=3 * rng.permutation(len(crops)) + 2), features


@pytest.fixture
def root(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the first stages leave in data/ of an empty folder."""
    monkeypatch.setitem(os.environ, "MLFLOW_TRACKING_URI", f"sqlite:///{workspace / 'mlflow.db'}")
    monkeypatch.setattr("cion_core.denoise.stage.record", lambda *_: None)
    crops, features = world(1, people=8, videos=4, noise=0.1)
    n = np.arange(len(crops))
    crops = crops.assign(
        time_s=crops.frame / 10,
        x1=1.0 * n,
        y1=0.0,
        x2=n + 0.5,
        y2=9.0,
        confidence=1.0,
        shard="a.tar",
        offset=0,
        size=1,
    )
    tables.write(tables.Crops, crops, workspace / "data/tracklets/crops.parquet")
    (workspace / "data/embeddings").mkdir()
    np.save(workspace / "data/embeddings/features.npy", features.astype(np.float32))
    return workspace / "data"


def shuffled_footage(data: Path) -> None:
    """Crops, features and truth of ten people in four videos, all together, shuffled.

    There are 4 crops each.
    """
    rng = np.random.default_rng(0)
    looks = rng.normal(size=(10, 16))
    video, person, frame = (
        g.ravel() for g in np.meshgrid(range(4), range(10), range(4), indexing="ij")
    )
    boxes = {"x1": 50.0 * person, "y1": 0.0, "x2": 50.0 * person + 40, "y2": 100.0}
    where = {"video": [f"v{v}" for v in video], "frame": frame, **boxes}
    crops = pd.DataFrame(
        {
            "crop": np.arange(len(person)),
            **where,
            "time_s": frame / 10,
            "tracklet": video * 10 + person,
            "confidence": 1.0,
            "shard": "a.tar",
            "offset": 0,
            "size": 1,
        }
    )
    order = rng.permutation(len(crops))
    features = (looks[person] + 0.2 * rng.normal(size=(len(person), 16)))[order]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    tables.write(tables.Crops, crops.iloc[order], data / "tracklets/crops.parquet")
    (data / "embeddings").mkdir()
    np.save(data / "embeddings/features.npy", features.astype(np.float16))
    truth = pd.DataFrame({**where, "person": person, "visible": 1.0})
    tables.write(tables.Truth, truth, data / "raw/truth.parquet")
