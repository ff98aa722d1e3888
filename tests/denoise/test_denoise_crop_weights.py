"""How much a crop counts in its centroid, by its box, its sharpness and the detector's word."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cion_core.denoise import Settings, cannot_link, checks, crop_weights, denoise
from cion_core.denoise.sequence import Sequence, order_by_sight
from cion_core.neighbours import arrays
from cion_core.quality import LEAST, not_hidden

COLUMNS = ["video", "frame", "tracklet", "x1", "y1", "x2", "y2"]


def table(rows: list[tuple], **columns: object) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS).assign(crop=range(len(rows)), **columns)


def weights(crops: pd.DataFrame) -> np.ndarray | None:
    checked, _ = checks.checked(crops, np.ones((len(crops), 2)))
    return crop_weights.weights_of(checked, cannot_link.crop_pairs(checked))


def walk(video: str, tracklet: int, count: int = 3) -> list[tuple]:
    """A box of 40 x 100 that touches nothing of a frame of 400 x 300, alone in its frames."""
    return [
        (video, 1000 * tracklet + k, tracklet, 100 + 10 * k, 100, 140 + 10 * k, 200)
        for k in range(count)
    ]


FRAME = ("v", 99999, 99, 360, 200, 400, 300)  # who reaches the frame's end, whole


def test_nothing_known_counts_the_same() -> None:
    crops = table(walk("v", 1))[["crop", "video", "frame", "tracklet"]]
    assert weights(crops) is None
    assert weights(table([*walk("v", 1), FRAME])).tolist() == [1, 1, 1, 1]


def test_small_blurred_and_doubtful() -> None:
    told = weights(
        table([*walk("v", 1), FRAME], confidence=[0.5, 1, 1, 1], sharpness=[8, 2, 8, np.nan])
    )
    np.testing.assert_allclose(told, [0.5, 0.25, 1, 1])
    blurred = table(walk("v", 1), sharpness=[8.0, 0, 8]).drop(columns=["x1", "y1", "x2", "y2"])
    np.testing.assert_allclose(weights(blurred), [1, LEAST, 1])


@pytest.mark.parametrize(
    "values", [["high", "", None], [7, -3, 2], [float("nan"), float("inf"), 0.5]]
)
def test_a_confidence_of_another_kind_has_no_say(values: list) -> None:
    crops = table([*walk("v", 1), FRAME], confidence=[*values, 1.0])
    np.testing.assert_array_equal(weights(crops), [1, 1, 1, 1])


def test_where_the_table_tells_it_nothing_else_has_a_say() -> None:
    told = [0.25, np.nan, 1, 0]
    crops = table([*walk("v", 1), FRAME], confidence=0.5, sharpness=[1, 9, 9, 9], quality=told)
    np.testing.assert_allclose(weights(crops), [0.25, 1, 1, LEAST])


def test_a_tracklet_cut_off_in_a_video_of_which_nothing_is_known_counts_in_full() -> None:
    rows = [*walk("v", 1), ("v", 5, 2, 0, 100, 20, 200), ("w", 5, 3, 0, 100, 20, 200), FRAME]
    np.testing.assert_allclose(weights(table(rows)), [1, 1, 1, 0.5, 1, 1])


def scene(seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """People cross each other's way in each of 4 videos; who is hidden looks like who hides him.

    With looks.
    """
    rng = np.random.default_rng(seed)
    looks, rows = rng.normal(size=(10, 16)), []
    for video in range(4):
        for person in range(10):
            depth, start, speed = rng.uniform(0, 40), rng.uniform(0, 300), rng.normal(0, 25)
            for k in range(6):
                x = abs(start + speed * k)
                rows.append(
                    (f"v{video}", k, 10 * video + person, x, 50 + depth, x + 40, 150 + depth)
                )
    crops = table(
        rows, confidence=rng.uniform(0.5, 1, len(rows)), sharpness=rng.uniform(3, 9, len(rows))
    )
    person = crops.tracklet.to_numpy() % 10
    pairs = cannot_link.crop_pairs(crops)
    boxes = crops[COLUMNS[3:]].to_numpy(float)
    mixed = looks[person] + 0.2 * rng.normal(size=(len(rows), 16))
    for i, j in pairs:
        a, b = (i, j) if boxes[i, 3] < boxes[j, 3] else (j, i)
        hidden = 1 - not_hidden(boxes, np.array([[a, b]]))[a]
        mixed[a] += hidden * (looks[person[b]] - looks[person[a]])
    return crops, mixed.astype(np.float32), looks


def test_centroids_come_nearer_to_their_person() -> None:
    for seed in range(3):
        crops, features, looks = scene(seed)
        own, told = arrays.unit(looks)[np.arange(40) % 10], weights(crops)
        plain, weighed = (
            arrays.centroids(features, crops.tracklet.to_numpy(), 40, by) for by in (None, told)
        )
        assert (
            np.einsum("nd,nd->n", weighed, own).mean()
            > np.einsum("nd,nd->n", plain, own).mean() + 0.01
        )


def test_level_3_weighs_and_only_where_it_knows() -> None:
    crops, features, _ = scene(1)
    bare = ["crop", "video", "frame", "tracklet"]
    labels = crops.tracklet.to_numpy(np.int64)
    points = {}
    for name, columns in {"bare": bare, "boxes": [*bare, "x1", "y1", "x2", "y2"]}.items():
        table_, rows = checks.checked(crops[columns], features)
        points[name] = Sequence.of(table_, rows, labels, True).nodes.centres
    order = order_by_sight(checks.checked(crops, features)[0], labels)[1]
    unit = arrays.unit(features)
    np.testing.assert_array_equal(points["bare"], arrays.centroids(unit, labels, 40)[order])
    told = weights(crops[[*bare, "x1", "y1", "x2", "y2"]])
    expected = np.stack([(told[labels == t, None] * unit[labels == t]).sum(0) for t in order])
    np.testing.assert_allclose(points["boxes"], arrays.unit(expected), atol=1e-6)


def test_a_video_weighs_the_same_alone_and_in_any_order() -> None:
    crops, features, _ = scene(2)
    told = weights(crops)
    assert (
        told.dtype == np.float32 and told.min() >= LEAST and told.max() <= 1 and len(set(told)) > 50
    )
    some = (crops.video == "v2").to_numpy()
    np.testing.assert_array_equal(weights(crops[some].assign(crop=range(some.sum()))), told[some])
    order = np.random.default_rng(0).permutation(len(crops))
    np.testing.assert_array_equal(weights(crops.iloc[order]), told)
    here = denoise(crops, features).identities
    pd.testing.assert_frame_equal(denoise(crops.iloc[order], features[order]).identities, here)


def test_new_videos_after_an_earlier_result_with_other_columns() -> None:
    crops, features, _ = scene(3)
    old = (crops.video != "v3").to_numpy()
    earlier = denoise(crops[old].assign(confidence=1).drop(columns="sharpness"), features[old])
    grown = denoise(crops, features, Settings(), earlier=earlier)
    assert grown.crops.confidence.to_numpy()[~old] == pytest.approx(crops.confidence[~old])
    assert set(grown.crops.columns) == {"crop", *COLUMNS, "confidence"}
    assert len(grown.identities) > len(earlier.identities)
