"""Every crop has a way through the levels, and what is told of it is so."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from typer.testing import CliRunner

from cion_core import params, tables
from cion_core.cli import app
from cion_core.denoise import Noise, denoise, stage
from cion_core.audit import nearby as around, explain as why
from cion_core.denoise.checks import checked
from cion_core.denoise.result import Links
from cion_core.errors import CionError

LIMIT = Noise(0.3, 0.15)
LEVEL3 = Noise(None, 0.6)


def world(seed: int, people: int = 5, videos: int = 3, noise: float = 0.3) -> tuple[pd.DataFrame, np.ndarray]:
    """Each person in each video, some in two tracklets, some crops of somebody else; crop numbers with gaps."""
    rng = np.random.default_rng(seed)
    looks = rng.normal(size=(people, 8))
    rows = [
        (f"v{v}", frame, 10 * (v * people + person) + int(frame >= 3 and person % 2), person)
        for v in range(videos) for person in range(people) for frame in range(person % 3, 6)
    ]  # fmt: skip
    crops = pd.DataFrame(rows, columns=["video", "frame", "tracklet", "person"])
    shown = np.where(rng.random(len(crops)) < 0.1, rng.integers(people, size=len(crops)), crops.person)
    features = looks[shown] + noise * rng.normal(size=(len(crops), 8))
    return crops.drop(columns="person").assign(crop=3 * rng.permutation(len(crops)) + 2), features


def told(crops: pd.DataFrame, features: np.ndarray, **settings: object) -> tuple[pd.DataFrame, np.ndarray, dict]:
    """The table as levels see it, and what a `Teller` needs of a run."""
    limits = {"tracklet": LIMIT, "video": LIMIT, "cross_video": LEVEL3}
    done = denoise(crops, features, limits, min_crops=2, **settings)
    table, unit = checked(crops, features)
    return table, unit, {
        "labels": {level.name: level.labels for level in done.levels},
        "ledgers": {level.name: level.ledger for level in done.levels},
        "limits": {level.name: level.noise for level in done.levels},
        "links": done.levels[-1].links,
    }  # fmt: skip


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 999), st.sampled_from([0.1, 0.3, 0.6]), st.booleans())
def test_no_crop_is_unexplained(seed: int, noise: float, centre: bool) -> None:
    crops, features = world(seed, noise=noise)
    table, unit, of = told(crops, features, centre=centre)
    teller = why.Teller(table, unit, **of)
    nearest = teller.across.nearest().set_index("identity")
    for row, crop in enumerate(table.crop):
        story = teller.tell(crop)
        last = story.steps[-1]
        if last.others:
            other, beside = nearest.loc[last.before], last.others[0]
            assert beside.distance == pytest.approx(max(other.distance, 0), abs=1e-5)
            assert beside.forbidden == other.forbidden
        assert [step.level for step in story.steps] == list(tables.LEVELS)
        assert story.seen["tracklet"] == story.steps[0].before
        for before, after in zip(story.steps, story.steps[1:], strict=False):
            assert before.after == after.before
        for step in story.steps:
            labels = of["labels"][step.level]
            assert step.after == labels[row] and step.reason and step.action in (*tables.ACTIONS, "not reached")
            assert step.crops == ((labels == step.after).sum() if step.after >= 0 else 0)
            if step.action in ("dropped", "not reached"):
                assert step.after == -1 and step.shown == ()
            else:
                assert step.after >= 0 and set(step.shown) <= set(table.crop[labels == step.after])
            assert (step.action == "not reached") <= (step.before == -1)
            for group in step.others:
                assert group.identity != step.after and group.crops == (labels == group.identity).sum()
            distances = [group.distance for group in step.others]
            assert distances == sorted(distances)
            assert len(step.joined) == min(step.parts, around.NEAR)
        lines = why.text(story)
        assert all(step.reason in lines for step in story.steps)


def angle(*degrees: float) -> np.ndarray:
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], 1)


def test_distances_and_neighbours_by_hand() -> None:
    """One video: tracklets 0 and 1 are merged, 2 was seen together with 0, crop 6 is a stranger in 3 whom 1 takes."""
    crops = pd.DataFrame({
        "crop": np.arange(9), "video": "v", "frame": [0, 1, 2, 3, 0, 1, 5, 6, 7],
        "tracklet": [0, 0, 1, 1, 2, 2, 3, 3, 3],
    })  # fmt: skip
    features = angle(0, 0, 10, 10, 20, 20, 5, 90, 90)
    labels = {
        "tracklet": np.array([0, 0, 1, 1, 2, 2, -1, 3, 3]),
        "video": np.array([0, 0, 0, 0, 2, 2, 0, 3, 3]),
        "cross_video": np.array([0, 0, 0, 0, 2, 2, 0, 3, 3]),
    }
    ledgers = {
        level: pd.DataFrame({"crop": crops.crop, "action": "kept", "reason": f"of {level}", "distance": np.nan})
        for level in tables.LEVELS
    }
    limits = dict.fromkeys(tables.LEVELS, LIMIT)
    names, nobody = np.array([0, 2, 3]), sparse.csr_matrix((3, 3), dtype=bool)
    links = Links(names, names, angle(5, 20, 90), nobody)
    teller = why.Teller(crops, features, labels, ledgers, limits, links)
    first, second, third = teller.tell(0).steps
    zero = pytest.approx(0, abs=1e-9)
    assert first.place == why.Place(zero, 1, 2, zero, zero, (0, 1))
    assert (second.before, second.after, second.crops, second.tracklets, second.videos) == (0, 0, 5, 3, 1)
    cos = lambda degrees: pytest.approx(1 - np.cos(np.radians(degrees)), abs=1e-5)  # noqa: E731
    assert [(g.identity, g.distance, g.crops) for g in second.joined] == [(1, cos(10), 2)]
    assert [(g.identity, g.distance, g.crops, g.forbidden) for g in second.others] == [
        (2, cos(15), 2, True),  # the centroid of 0 0 10 10 5 degrees is at 5
        (3, cos(85), 2, False),
    ]
    assert [g.identity for g in third.others] == [2, 3] and third.parts == 0
    moved = teller.tell(6).steps
    assert moved[0].place.rank == 1 and moved[0].place.of == 3
    assert sorted((g.identity, g.distance) for g in moved[1].joined) == [(0, cos(5)), (1, cos(5))]
    assert [(g.identity, g.distance) for g in moved[1].others] == [(2, cos(15)), (3, cos(85))]
    assert not any(g.forbidden for g in moved[1].others)  # the crop itself was seen with nobody
    free = why.Teller(crops, features, labels, ledgers, limits, links, cannot=False).tell(0).steps[1]
    assert not any(g.forbidden for g in free.others)


def test_what_is_not_there_is_named() -> None:
    table, unit, of = told(*world(0))
    with pytest.raises(CionError, match=r"crop 1: no such crop; there are \d+, with numbers 2 to \d+"):
        why.Teller(table, unit, **of).tell(1)
    video = of["labels"]["video"]
    strange = of | {"labels": of["labels"] | {"video": np.where(video == video.max(), video.min(), video)}}
    with pytest.raises(CionError, match="level 3 did not go on from these identities of level 2"):
        why.Teller(table, unit, **strange).tell(int(table.crop[0]))
    of["ledgers"]["video"] = of["ledgers"]["video"].iloc[1:]
    with pytest.raises(CionError, match="the ledger of video says nothing of it"):
        why.Teller(table, unit, **of).tell(int(table.crop[0]))


@pytest.fixture
def root(workspace: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of all three stages in data/ of an empty folder with the project's params.yaml."""
    monkeypatch.setitem(os.environ, "MLFLOW_TRACKING_URI", f"sqlite:///{workspace / 'mlflow.db'}")
    monkeypatch.setattr(stage, "record", lambda *_: None)
    (workspace / "params.yaml").write_text((project / "params.yaml").read_text())
    crops, features = world(1, people=8, videos=4, noise=0.1)
    n = np.arange(len(crops))
    crops = crops.assign(time_s=crops.frame / 10, x1=1.0 * n, y1=0.0, x2=n + 0.5, y2=9.0, confidence=1.0,
                         shard="a.tar", offset=0, size=1)  # fmt: skip
    tables.write(tables.Crops, crops, workspace / "data/tracklets/crops.parquet")
    (workspace / "data/embeddings").mkdir()
    np.save(workspace / "data/embeddings/features.npy", features.astype(np.float32))
    return workspace / "data"


def test_the_command_tells_every_level_and_names_what_has_not_run(root: Path) -> None:
    def ask(crop: int):
        return CliRunner().invoke(app, ["why", str(crop), "--root", str(root)])

    missing = ask(2)
    assert missing.exit_code == 1 and "denoise/tracklet/identities.parquet" in missing.output
    p = params.load().denoise
    for level in tables.LEVELS:
        stage.run(p, level, root)
    crops = tables.read(tables.Crops, root / "tracklets/crops.parquet").set_index("crop")
    ledger = tables.read(tables.Ledger, root / "denoise/cross_video/ledger.parquet")
    linked = ledger[ledger.action == "linked"].iloc[0]
    result = ask(linked.crop)
    assert result.exit_code == 0, result.output
    where = crops.loc[linked.crop]
    assert f"crop {linked.crop}: video {where.video}, frame {where.frame}, time {where.time_s:.1f} s" in result.output
    assert linked.reason in result.output and "(in the space that linking adapts" in result.output
    assert [mark for mark in "①②③" if mark in result.output] == list("①②③")
    unknown = ask(1)
    assert unknown.exit_code == 1 and "no such crop" in unknown.output
