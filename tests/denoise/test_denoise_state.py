"""Levels as files: read back as they were written, found again under other numbers, not found where they are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from cion_core import tables
from cion_core.denoise import single_video, state
from cion_core.denoise.result import Links
from cion_core.denoise.noise import Noise
from cion_core.denoise.linking.space import Space
from cion_core.errors import CionError

SETTINGS = {"min_crops": 3}


def links(space: Space | None) -> Links:
    rng = np.random.default_rng(0)
    apart = sparse.csr_matrix(([True, True], ([0, 2], [2, 0])), shape=(3, 3))
    points = rng.normal(size=(3, 4)).astype(np.float32)
    index = np.array([[0, 1, 2], [1, 0, 2], [2, 0, 1]], np.int32)
    return Links(np.array([4, 2, 9]), np.array([2, 2, 9]), points, apart, index if space else None, space)


@pytest.mark.parametrize(
    "space",
    [None, Space(None, ()), Space(np.ones(4, np.float32), (np.eye(4, dtype=np.float32),) * 3)],
)
def test_links_come_back_as_they_were(space: Space | None, tmp_path: Path) -> None:
    before = links(space)
    state.write_links(before, tmp_path / "links.npz")
    after = state.read_links(tmp_path / "links.npz")
    for name in ("names", "identity", "points"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert (after.forbidden != before.forbidden).nnz == 0
    if space is None:
        assert after.space is None and after.index is None
    else:
        np.testing.assert_array_equal(after.index, before.index)
        assert after.space.mean is space.mean is None or (after.space.mean == space.mean).all()
        assert len(after.space.maps) == len(space.maps)
        assert all((a == b).all() for a, b in zip(after.space.maps, space.maps, strict=True))


def footage(videos: list[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """Two tracklets of three crops in each video, the same whatever the others; numbers as extract gives them."""
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


def done(videos: list[str], folder: Path, p: dict = SETTINGS):
    """Level 2 of the footage, in the folder."""
    crops, features = footage(videos)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    tracklets = crops.tracklet.to_numpy()
    level = single_video.denoise(crops, unit, tracklets, Noise(1.9, 1.9), cannot=False)  # both of a video become one
    story = level.audit(crops)
    state.write(level, crops, story, state.videos(crops, features, tracklets, p), folder)
    return level


def find(videos: list[str], folder: Path, p: dict = SETTINGS, **changes: object):
    crops, features = footage(videos)
    labels = crops.tracklet.to_numpy()
    crops = crops.assign(**changes)
    return state.earlier(folder, "video", crops, state.videos(crops, features, labels, p))


def test_what_was_there_is_found_though_videos_came_before_it(tmp_path: Path) -> None:
    old = done(["v1", "v3"], tmp_path)
    level, known = find(["v1", "v3", "v4"], tmp_path)
    assert known.tolist() == [True] * 12 + [False] * 6
    np.testing.assert_array_equal(level.labels, old.labels)
    pd.testing.assert_frame_equal(level.ledger.astype(str), old.ledger.astype(str))
    assert (level.noise, level.before, level.after) == (old.noise, old.before, old.after)
    level, known = find(["v0", "v1", "v2", "v3"], tmp_path)
    assert np.flatnonzero(known).tolist() == [*range(6, 12), *range(18, 24)]
    assert old.labels.tolist() == [0] * 6 + [2] * 6 and level.labels.tolist() == [2] * 6 + [6] * 6
    assert level.ledger.crop.tolist() == np.flatnonzero(known).tolist()
    assert set(level.ledger["from"]) == {2, 3, 6, 7} and set(level.ledger.to) == {2, 6}
    assert (
        level.ledger.reason.str.extract(r"identity (\d+)")[0].astype(int).tolist()
        == [3] * 3 + [2] * 3 + [7] * 3 + [6] * 3
    )


def test_what_changed_is_not_gone_on_from(tmp_path: Path) -> None:
    videos = ["v1", "v3"]
    assert find([*videos, "v4"], tmp_path) is None  # nothing is there
    done(videos, tmp_path)
    assert find([*videos, "v4"], tmp_path) is not None
    assert find(videos, tmp_path) is None  # nothing was added: whoever asks for it wants it done anew
    assert find(["v1", "v4", "v5"], tmp_path) is None  # a video is gone
    assert find([*videos, "v4"], tmp_path, {"min_crops": 7}) is None
    assert find([*videos, "v4"], tmp_path, x2=11.0) is None
    crops, features = footage([*videos, "v4"])
    labels = crops.tracklet.to_numpy()
    features[4] *= -1  # of one crop in the middle
    others = state.videos(crops, features, labels, SETTINGS)
    assert state.earlier(tmp_path, "video", crops, others) is None
    features[4] *= -1
    before = state.videos(crops, features, np.where(crops.crop == 2, -1, labels), SETTINGS)  # level 1 did otherwise
    assert state.earlier(tmp_path, "video", crops, before) is None
    (tmp_path / state.VIDEOS).unlink()  # a write that was cut off
    assert find([*videos, "v4"], tmp_path) is None


def test_no_crops_are_of_no_video() -> None:
    crops, features = footage(["v1"])
    assert state.videos(crops[:0], features[:0], np.empty(0, np.int64), SETTINGS).empty


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CionError, match=r"audit\.json: no such file; denoise .* has not run"):
        state.read_story(tmp_path)
    with pytest.raises(CionError, match=r"links\.npz: no such file"):
        state.read_links(tmp_path / "links.npz")
    with pytest.raises(CionError, match=r"earlier\.json: no such file; an earlier --out folder"):
        state.read_result(tmp_path)
    tables.write(tables.Identities, pd.DataFrame({"crop": [1, 7], "identity": [0, 0]}), tmp_path / "identities.parquet")
    with pytest.raises(CionError, match=r"crops \[7\] are not in crops\.parquet"):
        state.read_labels(tmp_path, np.arange(3))
