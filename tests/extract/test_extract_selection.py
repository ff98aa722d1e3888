"""Which crops are kept, what each is worth, and why others are kept out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from films import HEIGHT, WIDTH, record

from cion_core import quality, tables
from cion_core.extract import stage
from cion_core.extract.selection import Changes, seen_in, select
from cion_core.extract.settings import Extract

MIN_CROPS = 3
WALL = cv2.resize(
    np.random.default_rng(0).integers(90, 160, (20, 30, 3), np.uint8), (WIDTH, HEIGHT)
)


def test_who_stands_in_front_hides_and_a_second_box_of_oneself_does_not() -> None:
    box = np.array([100, 50, 140, 150])
    nearer = [120, 60, 160, 170]  # hides 20 x 90 of 40 x 100
    farther = [80, 20, 120, 120]
    again = [101, 50, 141, 151]
    found = seen_in(box, np.array([box, nearer, farther, again]), width=400, height=300)
    assert found == {"shown": pytest.approx(1 - 0.45), "at_side": False, "at_top_or_bottom": False}
    alone = seen_in(np.array([0, 200, 30, 300]), np.empty((0, 4)), width=400, height=300)
    assert alone == {"shown": 1.0, "at_side": True, "at_top_or_bottom": True}


def test_a_crop_is_compared_with_the_last_that_was_another() -> None:
    """Slow changes add up; each tracklet has its own."""
    changes = Changes(least=8, min_crops=2)
    grey = [np.full((80, 40, 3), level, np.uint8) for level in (100, 101, 103, 106, 109, 112)]
    told = [changes.is_nearly_equal(1, crop) for crop in grey]
    # The first two are needed; 109 is 8 frames from 101.
    assert told == [False, False, True, True, False, True]
    assert not changes.is_nearly_equal(2, grey[0])
    assert not any(Changes(0, 1).is_nearly_equal(1, grey[0]) for _ in range(3))


def crops_of(**columns: object) -> pd.DataFrame:
    """Six crops of one tracklet, all as good as any, but for `columns`."""
    count = 6
    table = pd.DataFrame(
        {"frame": range(count), "shot": 0, "tracklet": 0, "confidence": 1.0, "sharpness": 9.0}
    )
    boxes = {"x1": 100, "y1": 50, "x2": 140, "y2": 150}
    seen = {"shown": 1.0, "at_side": False, "at_top_or_bottom": False, "nearly_equal": False}
    return table.assign(**boxes, **seen).assign(**columns)


def test_each_crop_has_a_quality_and_what_shows_too_little_is_kept_out_with_its_reason() -> None:
    crops = crops_of(
        shown=[1, 0.2, 1, 1, 1, 1.0],
        sharpness=[9, 9, 1, 9, 9, 9.0],
        confidence=[1, 1, 1, 0.5, 1, 1.0],
        nearly_equal=[False] * 5 + [True],
    )
    kept, out = select(crops, min_quality=0.3, min_crops=MIN_CROPS)
    assert kept.frame.tolist() == [0, 3, 4] and out == {
        "blurred": 1,
        "hidden": 1,
        "nearly equal": 1,
    }
    np.testing.assert_allclose(kept.quality, [1, 0.5, 1])
    everything, none_out = select(crops, min_quality=0, min_crops=MIN_CROPS)
    assert everything.frame.tolist() == [0, 1, 2, 3, 4] and none_out == {"nearly equal": 1}
    assert not {"shown", "at_side", "at_top_or_bottom", "nearly_equal"} & set(kept.columns)


def test_of_each_tracklet_the_best_crops_stay_whatever_their_quality() -> None:
    kept, out = select(
        crops_of(shown=[0, 0.1, 0.2, 0.3, 0.1, 0.0]), min_quality=0.9, min_crops=MIN_CROPS
    )
    assert kept.frame.tolist() == [1, 2, 3] and out == {"hidden": 3}
    assert (kept.quality >= quality.LEAST).all()


def test_somebody_who_stands_is_thinned_out_and_somebody_who_walks_is_not(
    ingested: Callable, workspace: Path, settings: Extract
) -> None:
    def paint(number: int) -> np.ndarray:
        image = WALL.copy()
        for colour, x in (((20, 20, 230), min(4 * number, 60)), ((230, 30, 20), 100 + 2 * number)):
            cv2.ellipse(image, (x, 90), (12, 40), 0, 0, 360, colour, -1)
        return image

    record(workspace / "clips/a.mp4", [100 * number for number in range(60)], paint=paint)
    ingested("clips")
    counts = {}
    for least in (0.0, 12.0):
        stage.run(settings.model_copy(update={"min_change": least}))
        crops = tables.read(tables.Crops, "data/tracklets/crops.parquet")
        (report,) = json.loads(Path("data/tracklets/extract.json").read_text())["videos"]
        counts[least] = crops.groupby("tracklet").size()
        assert report["crops"] == len(crops) and crops.quality.between(0, 1).all()
        assert crops.crop.tolist() == list(range(len(crops)))
    assert len(counts[0.0]) == len(counts[12.0]) == 2
    out = report["kept_out"]
    assert out == {"nearly equal": (counts[0.0] - counts[12.0]).sum()} and out["nearly equal"] >= 3
    assert counts[12.0].min() >= settings.min_crops
