"""Every crop has a way through the levels, and what is told of it is so."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import world
from scipy import sparse

from cion_core import tables
from cion_core.audit import explain, nearby, sentences
from cion_core.denoise import Settings, Thresholds, denoise, stage
from cion_core.denoise.checks import checked
from cion_core.denoise.linking.nodes import LinkRecord
from cion_core.denoise.settings import Denoise
from cion_core.errors import CionError

RADIUS, SEPARATION = {"tracklet": 0.3, "video": 0.3}, {"video": 0.6, "cross_video": 0.6}


def told(
    crops: pd.DataFrame, features: np.ndarray, **settings: object
) -> tuple[pd.DataFrame, np.ndarray, dict]:
    """The table as levels see it, and what a `Teller` needs of a run."""
    done = denoise(
        crops, features, Settings(radius=RADIUS, separation=SEPARATION, min_crops=2, **settings)
    )
    table, unit = checked(crops, features)
    return table, unit, {
        "labels": {level.name: level.labels for level in done.levels},
        "ledgers": {level.name: level.ledger for level in done.levels},
        "thresholds": {level.name: level.thresholds for level in done.levels},
        "links": done.levels[-1].links,
    }  # fmt: skip


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 999), st.sampled_from([0.1, 0.3, 0.6]), st.booleans())
def test_no_crop_is_unexplained(seed: int, noise: float, centre: bool) -> None:
    crops, features = world(seed, noise=noise)
    table, unit, of = told(crops, features, reciprocal={"centre": centre})
    teller = explain.Teller(table, unit, **of)
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
            assert (
                step.after == labels[row]
                and step.reason
                and step.action in (*tables.ACTIONS, "not reached")
            )
            assert step.crops == ((labels == step.after).sum() if step.after >= 0 else 0)
            if step.action in ("dropped", "not reached"):
                assert step.after == -1 and step.shown == ()
            else:
                assert step.after >= 0 and set(step.shown) <= set(table.crop[labels == step.after])
            assert (step.action == "not reached") <= (step.before == -1)
            for group in step.others:
                assert (
                    group.identity != step.after and group.crops == (labels == group.identity).sum()
                )
            distances = [group.distance for group in step.others]
            assert distances == sorted(distances)
            assert len(step.joined) == min(step.parts, nearby.NEAR)
        lines = sentences.text(story)
        assert all(step.reason in lines for step in story.steps)


def angle(*degrees: float) -> np.ndarray:
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], 1)


def test_distances_and_neighbours_by_hand() -> None:
    """One video: tracklets 0 and 1 are merged, and 2 was seen together with 0.

    Crop 6 is a stranger in 3, whom 1 takes.
    """
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
        level: pd.DataFrame(
            {
                "crop": crops.crop,
                "level": level,
                "action": "kept",
                "other": -1,
                "distance": 0.1,
                "limit": 0.3,
                "probability": np.nan,
                "rule": "published" if level == "cross_video" else "radius",
                "from": 0,
                "to": 0,
            }
        )
        for level in tables.LEVELS
    }
    thresholds = dict.fromkeys(tables.LEVELS, Thresholds(0.3, 0.15))
    names, nobody = np.array([0, 2, 3]), sparse.csr_matrix((3, 3), dtype=bool)
    links = LinkRecord(
        video_identity=names,
        identity=names,
        points=angle(5, 20, 90),
        forbidden=nobody,
        rule="published",
    )
    teller = explain.Teller(crops, features, labels, ledgers, thresholds, links)
    first, second, third = teller.tell(0).steps
    zero = pytest.approx(0, abs=1e-9)
    assert first.place == explain.Place(zero, 1, 2, zero, zero, (0, 1))
    assert (second.before, second.after, second.crops, second.tracklets, second.videos) == (
        0,
        0,
        5,
        3,
        1,
    )
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
    free = (
        explain.Teller(crops, features, labels, ledgers, thresholds, links, cannot_link=False)
        .tell(0)
        .steps[1]
    )
    assert not any(g.forbidden for g in free.others)


def test_what_is_not_there_is_named() -> None:
    table, unit, of = told(*world(0))
    with pytest.raises(
        CionError, match=r"crop 1: no such crop; there are \d+, with numbers 2 to \d+"
    ):
        explain.Teller(table, unit, **of).tell(1)
    video = of["labels"]["video"]
    strange = of | {
        "labels": of["labels"] | {"video": np.where(video == video.max(), video.min(), video)}
    }
    with pytest.raises(CionError, match="level 3 was not made from these identities of level 2"):
        explain.Teller(table, unit, **strange).tell(int(table.crop[0]))
    of["ledgers"]["video"] = of["ledgers"]["video"].iloc[1:]
    with pytest.raises(CionError, match="the ledger of video says nothing of it"):
        explain.Teller(table, unit, **of).tell(int(table.crop[0]))


ROW = {
    "crop": 5,
    "other": -1,
    "distance": 0.12349,
    "limit": 0.4561,
    "probability": np.nan,
    "from": 7,
    "to": 7,
}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            ("tracklet", "kept", "radius"),
            "0.123 from its tracklet's other crops, within radius 0.456",
        ),
        (
            ("tracklet", "dropped", "radius"),
            "0.123 from its tracklet's other crops, beyond radius 0.456",
        ),
        (
            ("tracklet", "dropped", "min_crops", {"limit": 3.0}),
            "fewer than 3 of its tracklet's crops are left",
        ),
        (
            ("video", "kept", "radius"),
            "0.123 from its identity's other crops; it stays where its tracklet is",
        ),
        (
            ("tracklet", "dropped", "outlier"),
            "0.123 from its tracklet's other crops, beyond radius 0.456, and apart from all crops "
            "of its video: perhaps no person",
        ),
        (
            ("video", "dropped", "no_home", {"distance": np.nan}),
            "no identity of its video within radius 0.456 and clear of the next may take it",
        ),
        (
            ("video", "moved", "radius", {"other": 4}),
            "0.123 from the centroid of identity 4, within radius 0.456",
        ),
        (
            ("video", "merged", "separation", {"other": 9}),
            "merged with identity 9: alike beyond what is common in the video, 0.123 apart, below "
            "0.456",
        ),
        (
            ("cross_video", "kept", "reciprocal"),
            "identity 7: no other within 0.456 may be the same",
        ),
        (("cross_video", "kept", "published"), "identity 7: no other within 0.456 may be the same"),
        (
            ("cross_video", "linked", "reciprocal", {"other": 9, "to": 3}),
            "linked with identity 9: neighbourhoods 0.123 apart, below 0.456; now identity 3",
        ),
        (
            ("cross_video", "linked", "reciprocal", {"other": 9, "to": 3, "probability": 0.84}),
            "linked with identity 9: neighbourhoods 0.123 apart, below 0.456 (such links are "
            "right in about 8 of 10 cases); now identity 3",
        ),
        (
            ("cross_video", "linked", "published", {"other": 9}),
            "linked with identity 9: centroids 0.123 apart, below 0.456; now identity 7",
        ),
    ],
)
def test_sentences_of_every_action_and_rule(row: tuple, says: str) -> None:
    level, action, rule, *changes = row
    told = ROW | {"level": level, "action": action, "rule": rule} | (changes[0] if changes else {})
    assert sentences.sentence(SimpleNamespace(**told)) == says
    ledger = pd.DataFrame([told]).astype({name: "category" for name in ("level", "action", "rule")})
    ledger = tables.validate(tables.Ledger, ledger, "here")
    assert (
        sentences.sentence(ledger.iloc[0]) == sentences.sentence(next(ledger.itertuples())) == says
    )


@pytest.mark.parametrize(
    ("probability", "says"),
    [
        (0.04, "hardly ever"),
        (0.06, "in about 1 of 10 cases"),
        (0.94, "in about 9 of 10 cases"),
        (0.96, "nearly always"),
    ],
)
def test_how_sure_a_link_is_in_words(probability: float, says: str) -> None:
    assert sentences.sure(probability) == f" (such links are right {says})"


def test_a_rule_of_ones_own_says_what_it_compares(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(workspace))
    (workspace / "gait_rule.py").write_text(
        "from cion_core.denoise.linking.rules.base import LinkingRule\n"
        "class Gait(LinkingRule):\n"
        "    about = 'links by gait'\n"
        "    compares = 'gaits'\n"
    )
    row = ROW | {"level": "cross_video", "action": "linked", "rule": "gait_rule.Gait", "other": 2}
    told = sentences.sentence(SimpleNamespace(**row))
    assert told == "linked with identity 2: gaits 0.123 apart, below 0.456; now identity 7"


def test_the_files_of_the_stages_tell_every_level_and_what_has_not_run_is_named(root: Path) -> None:
    p = Denoise(min_crops=3)

    def ask(crop: int) -> str:
        return sentences.text(explain.run(crop, p, root))

    with pytest.raises(CionError, match=r"denoise/tracklet/identities\.parquet"):
        ask(2)
    for level in tables.LEVELS:
        stage.run(p, level, root=root)
    crops = tables.read(tables.Crops, root / "tracklets/crops.parquet").set_index("crop")
    ledger = tables.read(tables.Ledger, root / "denoise/cross_video/ledger.parquet")
    linked = ledger[ledger.action == "linked"].iloc[0]
    told, where = ask(linked.crop), crops.loc[linked.crop]
    assert (
        f"crop {linked.crop}: video {where.video}, frame {where.frame}, time {where.time_s:.1f} s"
        in told
    )
    assert sentences.sentence(linked) in told and "(in the space that linking adapts" in told
    assert [mark for mark in "①②③" if mark in told] == list("①②③")
    with pytest.raises(CionError, match="no such crop"):
        ask(1)
