"""ByteTrack with times in seconds."""

from __future__ import annotations

import numpy as np
import pytest

from cion_core.extract.detectors.base import detections
from cion_core.extract.tracker import Tracker


def track(times: list[float], rate: float, lost_seconds: float, speed: float = 20.0) -> list[list[int]]:
    """Ids of a person of 30 x 80 pixels, walking, seen at `times`; nothing is seen at the other steps."""
    tracker = Tracker(rate, 0.3, lost_seconds)
    ids = []
    for step in range(round(max(times) * rate) + 1):
        time = step / rate
        x = 50 + speed * time
        seen = any(abs(time - t) < 1e-9 for t in times)
        found = detections([[x, 20, x + 30, 100]], [0.9]) if seen else detections([], [])
        ids.append(tracker.update(found, time).tracker_id.tolist())
    return ids


@pytest.mark.parametrize("rate", [25, 10, 5, 2])
def test_a_walker_is_one_tracklet_from_the_second_sighting_on(rate: float) -> None:
    ids = track([i / rate for i in range(round(4 * rate))], rate, 1.0)
    assert ids == [[], *[[0]] * (len(ids) - 1)]


@pytest.mark.parametrize(("lost_seconds", "tracklets"), [(0.0, 2), (0.4, 2), (1.0, 1)])
def test_an_absence_longer_than_lost_seconds_starts_a_new_tracklet(lost_seconds: float, tracklets: int) -> None:
    before, after = [i / 10 for i in range(10)], [i / 10 for i in range(17, 27)]  # unseen for 0.8 s
    ids = track(before + after, 10, lost_seconds)
    assert len({one for now in ids for one in now}) == tracklets


def test_two_who_stay_apart_keep_their_ids() -> None:
    tracker = Tracker(10, 0.3, 1.0)
    for step in range(20):
        boxes = [[10 + 2 * step, 20, 40 + 2 * step, 100], [200 - 2 * step, 20, 230 - 2 * step, 100]]
        tracked = tracker.update(detections(boxes, [0.9, 0.8]), step / 10)
        if step:
            assert tracked.tracker_id.tolist() == [0, 1]
            assert np.allclose(tracked.xyxy, boxes)


def test_unsure_boxes_go_on_with_a_tracklet_but_start_none() -> None:
    tracker = Tracker(10, 0.3, 1.0)
    box = [[10, 20, 40, 100]]
    for step in range(5):
        assert len(tracker.update(detections(box, [0.4]), step / 10)) == 0
    for step in range(5, 8):
        tracker.update(detections(box, [0.9]), step / 10)
    assert tracker.update(detections(box, [0.4]), 0.8).tracker_id.tolist() == [0]
