"""Levels as files: read back as written, found under other numbers, absent where they are not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from cion_core import tables
from cion_core.denoise import single_video, state, unchanged
from cion_core.denoise.linking.nodes import LinkRecord, RuleState
from cion_core.denoise.linking.rules import RULES
from cion_core.denoise.result import Level
from cion_core.denoise.settings import Settings, Thresholds
from cion_core.errors import CionError

SETTINGS = Settings(min_crops=3, cannot_link=False).fixed({"video": Thresholds(1.9, 1.9)})


def links(rule_state: RuleState) -> LinkRecord:
    rng = np.random.default_rng(0)
    apart = sparse.csr_matrix(([True, True], ([0, 2], [2, 0])), shape=(3, 3))
    points = rng.normal(size=(3, 4)).astype(np.float32)
    merged = np.array([[0, 1]]), np.array([0.25]), np.array([np.nan])
    return LinkRecord(
        "mine.rules.Mine",
        np.array([4, 2, 9]),
        np.array([2, 2, 9]),
        points,
        apart,
        rule_state,
        *merged,
    )


@pytest.mark.parametrize(
    "rule_state",
    [
        {},
        {
            "index": np.array([[0, 1], [1, 0]], np.int32),
            "maps": np.ones((2, 4, 4), np.float32),
            "names": np.zeros(2),
        },
    ],
)
def test_links_come_back_as_they_were(rule_state: RuleState, tmp_path: Path) -> None:
    before = links(rule_state)
    state.write_links(before, tmp_path / "links.npz")
    after = state.read_links(tmp_path / "links.npz")
    for name in ("video_identity", "identity", "points", "merges", "distance", "probability"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert (after.forbidden != before.forbidden).nnz == 0 and after.rule == "mine.rules.Mine"
    assert list(after.rule_state) == list(rule_state)
    for name, array in rule_state.items():
        np.testing.assert_array_equal(after.rule_state[name], array)
        assert after.rule_state[name].dtype == array.dtype


def footage(videos: list[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """Two tracklets of three crops in each video, the same whatever the other videos.

    Numbers are as extract gives them.
    """
    rows, features = [], []
    for v, video in enumerate(videos):
        rng = np.random.default_rng(int(video[1:]))
        looks = np.repeat(rng.normal(size=(2, 6)), 3, 0)
        features.append(looks + 0.1 * rng.normal(size=(6, 6)))
        rows += [(video, 10 * (k // 3) + k % 3, 2 * v + k // 3) for k in range(6)]
    crops = pd.DataFrame(rows, columns=["video", "frame", "tracklet"])
    crops.insert(0, "crop", np.arange(len(crops)))
    boxes = {"x1": 0.0, "y1": 0.0, "x2": 10.0, "y2": 20.0}
    return crops.assign(**boxes), np.concatenate(features).astype(np.float32)


def done(videos: list[str], folder: Path) -> Level:
    """Level 2 of the footage, in the folder."""
    crops, features = footage(videos)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    tracklets = crops.tracklet.to_numpy()
    level = single_video.denoise_videos(
        crops, unit, tracklets, SETTINGS
    )  # both of a video become one
    listed = unchanged.describe_videos(
        crops, features, tracklets, unchanged.made_by(SETTINGS, "video")
    )
    state.write_level(level, crops, level.audit(crops), listed, folder)
    return level


def find(
    videos: list[str], folder: Path, p: Settings = SETTINGS, **changes: object
) -> tuple[Level, np.ndarray]:
    crops, features = footage(videos)
    labels = crops.tracklet.to_numpy()
    crops = crops.assign(**changes)
    videos = unchanged.describe_videos(crops, features, labels, unchanged.made_by(p, "video"))
    return unchanged.earlier_level(folder, "video", crops, videos)


def test_what_was_there_is_found_though_videos_came_before_it(tmp_path: Path) -> None:
    old = done(["v1", "v3"], tmp_path)
    level, known = find(["v1", "v3", "v4"], tmp_path)
    assert known.tolist() == [True] * 12 + [False] * 6
    np.testing.assert_array_equal(level.labels, old.labels)
    pd.testing.assert_frame_equal(level.ledger.astype(str), old.ledger.astype(str))
    assert (level.thresholds, level.before, level.after) == (old.thresholds, old.before, old.after)
    level, known = find(["v0", "v1", "v2", "v3"], tmp_path)
    assert np.flatnonzero(known).tolist() == [*range(6, 12), *range(18, 24)]
    assert old.labels.tolist() == [0] * 6 + [2] * 6 and level.labels.tolist() == [2] * 6 + [6] * 6
    assert level.ledger.crop.tolist() == np.flatnonzero(known).tolist()
    assert set(level.ledger["from"]) == {2, 3, 6, 7} and set(level.ledger.to) == {2, 6}
    assert level.ledger.other.tolist() == [3] * 3 + [2] * 3 + [7] * 3 + [6] * 3
    level, known = find(["v1", "v3"], tmp_path)  # nothing was added
    assert known.all() and (level.labels == old.labels).all()


def test_what_changed_is_not_gone_on_from(tmp_path: Path) -> None:
    videos = ["v1", "v3"]

    def refused(match: str, *what: object, **changes: object) -> None:
        with pytest.raises(CionError, match=match + r".*denoise\.earlier: null denoises all anew"):
            find(*what, **changes)

    refused(r"videos\.parquet: no such file", [*videos, "v4"], tmp_path)
    done(videos, tmp_path)
    find([*videos, "v4"], tmp_path)
    refused(r"1 of its videos are not as they were: v3 \(gone\)", ["v1", "v4", "v5"], tmp_path)
    refused(
        "made by other code or with other settings",
        [*videos, "v4"],
        tmp_path,
        SETTINGS.model_copy(update={"false_link_rate": 0.1}),
    )
    # Settings that this level does not depend on do not matter.
    find(
        [*videos, "v4"],
        tmp_path,
        SETTINGS.model_copy(update={"linking": "published", "min_crops": 1}),
    )
    refused(
        r"2 of its videos are not as they were: v1 \(changed\), v3 \(changed\)",
        [*videos, "v4"],
        tmp_path,
        x2=11.0,
    )
    crops, features = footage([*videos, "v4"])
    labels, key = crops.tracklet.to_numpy(), unchanged.made_by(SETTINGS, "video")
    features[4] *= -1  # of one crop in the middle
    with pytest.raises(CionError, match=r"1 of its videos are not as they were: v1 \(changed\)"):
        unchanged.earlier_level(
            tmp_path, "video", crops, unchanged.describe_videos(crops, features, labels, key)
        )
    features[4] *= -1
    other = np.where(crops.crop == 2, -1, labels)  # level 1 did otherwise
    before = unchanged.describe_videos(crops, features, other, key)
    with pytest.raises(CionError, match=r"v1 \(changed\)"):
        unchanged.earlier_level(tmp_path, "video", crops, before)
    pd.read_parquet(tmp_path / state.VIDEOS).drop(columns="made_by").to_parquet(
        tmp_path / state.VIDEOS
    )
    refused("made by other code", [*videos, "v4"], tmp_path)  # of a version that did not write it
    (tmp_path / state.VIDEOS).unlink()  # a write that was cut off
    refused(r"videos\.parquet: no such file", [*videos, "v4"], tmp_path)


def test_all_code_that_computes_is_known() -> None:
    names = {"/".join(path.parts[-2:]) for path in unchanged.CODE}
    assert {"denoise/tracklet.py", "linking/sliding_range.py", "neighbours/similarity.py"} <= names
    keys = [
        unchanged.made_by(Settings(linking=rule), level)
        for rule in RULES.names()
        for level in tables.LEVELS
    ]
    assert len(set(keys)) == 2 + len(RULES.names())  # the rule matters to the last level alone


def test_no_crops_are_of_no_video() -> None:
    crops, features = footage(["v1"])
    assert unchanged.describe_videos(crops[:0], features[:0], np.empty(0, np.int64), "").empty


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CionError, match=r"audit\.json: no such file; denoise .* has not run"):
        state.read_audit(tmp_path)
    with pytest.raises(CionError, match=r"links\.npz: no such file"):
        state.read_links(tmp_path / "links.npz")
    np.savez(tmp_path / "links.npz", names=np.arange(3))
    with pytest.raises(CionError, match=r"links\.npz: holds no name of a linking rule"):
        state.read_links(tmp_path / "links.npz")
    np.savez(tmp_path / "links.npz", rule="reciprocal", names=np.arange(3))
    with pytest.raises(
        CionError, match=r"links\.npz: holds no merges, so another version wrote it"
    ):
        state.read_links(tmp_path / "links.npz")
    with pytest.raises(CionError, match=r"earlier\.json: no such file; an earlier --out folder"):
        state.read_denoised(tmp_path)
    tables.write(tables.Ledger, tables.empty(tables.Ledger), tmp_path / "ledger.parquet")
    curve = {"radius": {"threshold": 0.5, "rule": "of an older version"}}
    (tmp_path / "audit.json").write_text(json.dumps({"calibration": curve}))
    with pytest.raises(CionError, match="of video: another version wrote its `calibration`"):
        state.read_level(tmp_path, "video", np.arange(3))
    tables.write(
        tables.Identities,
        pd.DataFrame({"crop": [1, 7], "identity": [0, 0]}),
        tmp_path / "identities.parquet",
    )
    with pytest.raises(CionError, match=r"crops \[7\] are not in crops\.parquet"):
        state.read_labels(tmp_path, np.arange(3))
