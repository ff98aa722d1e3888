"""Every tracker: what all of them must do, with times in seconds; then what only some can."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import supervision as sv

from cion_core.errors import CionError
from cion_core.extract.detectors.base import detections
from cion_core.extract.settings import Extract
from cion_core.extract.trackers import TRACKERS
from cion_core.extract.trackers.base import Tracker

BLANK = np.zeros((240, 400, 3), np.uint8)
every_tracker = pytest.mark.parametrize("name", TRACKERS.names())


def make(
    settings: Extract, name: str, rate: float = 10, lost_seconds: float = 1.0, **own: object
) -> Tracker:
    """The tracker `name` with a setting of the section changed, and some of its own."""
    changed = settings.model_dump() | {"tracker": name, "lost_seconds": lost_seconds}
    changed[name] = changed[name] | own
    return TRACKERS.named(name)(Extract.model_validate(changed), rate)


def follow(
    tracker: Tracker, times: list[float], seen: list[float] | None = None, speed: float = 20
) -> list[list[int]]:
    """The numbers given to a walker of 30 x 80 pixels in frames taken at `times`.

    seen: when the detector finds them; None: in every frame.
    """
    numbers = []
    for time in times:
        x = 50 + speed * time
        visible = seen is None or time in seen
        found = detections([[x, 20, x + 30, 100]], [0.9]) if visible else detections([], [])
        numbers.append(tracker.update(found, time, BLANK).tracker_id.tolist())
    return numbers


def regular(seconds: float, rate: float, start: float = 0.0) -> list[float]:
    return [start + step / rate for step in range(round(seconds * rate))]


def distinct(numbers: list[list[int]]) -> int:
    return len({number for frame in numbers for number in frame})


@every_tracker
@pytest.mark.parametrize("rate", [25, 10, 5, 2])
def test_a_walker_is_one_tracklet_from_the_second_detection_on(
    settings, name: str, rate: float
) -> None:
    numbers = follow(make(settings, name, rate), regular(4, rate))
    assert numbers == [[], *[[0]] * (len(numbers) - 1)]


@every_tracker
@pytest.mark.parametrize(("lost_seconds", "tracklets"), [(0.0, 2), (0.4, 2), (1.0, 1)])
def test_an_absence_longer_than_lost_seconds_starts_a_new_tracklet(
    settings, name: str, lost_seconds: float, tracklets: int
) -> None:
    times = regular(2.7, 10)
    seen = [time for time in times if not 0.95 < time < 1.65]  # unseen for 0.8 s
    assert distinct(follow(make(settings, name, 10, lost_seconds), times, seen)) == tracklets


@every_tracker
def test_a_gap_in_the_recording_is_an_absence(settings, name: str) -> None:
    """Nothing at all was recorded for 60 s: no frame tells the tracker so, the clock does."""
    times = regular(4, 10) + regular(4, 10, start=64)
    assert distinct(follow(make(settings, name), times, speed=0)) == 2


@every_tracker
def test_a_short_gap_in_the_recording_is_none(settings, name: str) -> None:
    times = regular(2, 10) + regular(2, 10, start=2.6)
    assert distinct(follow(make(settings, name), times)) == 1


@every_tracker
def test_a_variable_frame_rate_keeps_a_walker_together(settings, name: str) -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.choice([0.04, 0.1, 0.25, 0.4], 60)).tolist()
    assert distinct(follow(make(settings, name), times, speed=40)) == 1


@every_tracker
def test_two_who_stay_apart_keep_their_numbers(settings, name: str) -> None:
    tracker = make(settings, name)
    for step in range(20):
        boxes = [[10 + 2 * step, 20, 40 + 2 * step, 100], [300 - 2 * step, 20, 330 - 2 * step, 100]]
        tracked = tracker.update(detections(boxes, [0.9, 0.8]), step / 10, BLANK)
        if step:
            assert tracked.tracker_id.tolist() == [0, 1]
            assert np.allclose(tracked.xyxy, boxes)


@every_tracker
def test_boxes_of_low_confidence_start_no_tracklet(settings, name: str) -> None:
    tracker = make(settings, name)
    for step in range(5):
        assert len(tracker.update(detections([[10, 20, 40, 100]], [0.4]), step / 10, BLANK)) == 0


@pytest.mark.parametrize("name", sorted(set(TRACKERS.names()) - {"ocsort"}))
def test_boxes_of_low_confidence_go_on_with_a_tracklet(settings, name: str) -> None:
    tracker = make(settings, name)
    for step in range(5):
        tracker.update(detections([[10, 20, 40, 100]], [0.9]), step / 10, BLANK)
    tracked = tracker.update(detections([[10, 20, 40, 100]], [0.4]), 0.5, BLANK)
    assert tracked.tracker_id.tolist() == [0]


@every_tracker
def test_an_empty_shot_has_no_tracklets(settings, name: str) -> None:
    tracker = make(settings, name)
    for step in range(3):
        tracked = tracker.update(detections([], []), step / 10, BLANK)
        assert len(tracked) == 0 and tracked.tracker_id.dtype.kind == "i"


def view(wall: np.ndarray, left: int) -> np.ndarray:
    return np.ascontiguousarray(wall[:240, left : left + 400])


@pytest.mark.parametrize("name", ["botsort", "mcbyte"])
def test_the_motion_of_the_camera_is_taken_out(settings, name: str) -> None:
    """The camera swings to and fro over a textured wall, in front of which somebody stands."""
    rng = np.random.default_rng(0)
    wall = cv2.resize(
        rng.integers(0, 256, (60, 250, 3), np.uint8), (1000, 240), interpolation=cv2.INTER_CUBIC
    )
    swings = [0, 0, 0, 30, 0, 30, 60, 30, 0, 30, 60, 90]

    def tracklets(camera_motion: bool) -> int:
        tracker = make(settings, name, overlap=0.5, camera_motion=camera_motion)
        numbers = []
        for step, swing in enumerate(swings):
            found = detections([[200 - swing, 60, 230 - swing, 160]], [0.9])
            numbers.append(
                tracker.update(found, step / 10, view(wall, 200 + swing)).tracker_id.tolist()
            )
        return distinct(numbers)

    assert tracklets(camera_motion=True) == 1
    assert tracklets(camera_motion=False) != 1


def test_ocsort_weighs_the_direction_of_walking(settings) -> None:
    """Of two boxes one is nearer to where a walker is expected, the other straight on."""
    chosen = {}
    for weight in (0.0, 5.0):
        tracker = make(settings, "ocsort", overlap=0.1, direction_weight=weight)
        for step in range(10):
            x = 100 + 10 * step
            tracker.update(detections([[x, 20, x + 40, 100]], [0.9]), step / 10, BLANK)
        aside, ahead = [196, 36, 236, 116], [216, 20, 256, 100]  # expected is [200, 20, 240, 100]
        tracked = tracker.update(detections([aside, ahead], [0.9, 0.9]), 1.0, BLANK)
        chosen[weight] = tracked[tracked.tracker_id == 0].xyxy[0].tolist()
    assert chosen == {0.0: aside, 5.0: ahead}


def test_larger_buffers_of_cbiou_bridge_larger_jumps(settings) -> None:
    def tracklets(buffers: list[float]) -> int:
        tracker = make(settings, "cbiou", overlap=0.2, buffers=buffers)
        jumps = [0, 0, 0, 45, 0, 45, 0, 45]  # by more than the width of the box
        found = (detections([[100 + jump, 20, 130 + jump, 100]], [0.9]) for jump in jumps)
        return distinct(
            [
                tracker.update(box, step / 10, BLANK).tracker_id.tolist()
                for step, box in enumerate(found)
            ]
        )

    assert tracklets([1.0, 1.0]) == 1
    assert tracklets([0.0, 0.0]) != 1


def test_an_unknown_tracker_and_a_wrong_setting_are_named(settings) -> None:
    with pytest.raises(
        ValueError, match="unknown tracker 'deepsort'; valid are botsort, bytetrack, cbiou, mcbyte"
    ):
        Extract.model_validate(settings.model_dump() | {"tracker": "deepsort"})
    with pytest.raises(ValueError, match="overlap"):
        Extract.model_validate(settings.model_dump() | {"bytetrack": {"overlap": 1.5}})


OWN = """
import numpy as np

from cion_core.extract.trackers.base import Tracker


class OneForAll(Tracker):
    about = "everybody is one tracklet"

    def update(self, found, time, frame):
        found = found[:1]
        found.tracker_id = np.zeros(len(found), int)
        return found
"""


def test_a_tracker_in_one_file_of_the_users(own_file, settings) -> None:
    own_file(OWN)
    p = Extract.model_validate(settings.model_dump() | {"tracker": "mine.OneForAll"})
    tracker = TRACKERS.named(p.tracker)(p, 10)
    tracked = tracker.update(
        detections([[10, 20, 40, 100], [90, 20, 120, 100]], [0.9, 0.9]), 0.0, BLANK
    )
    assert isinstance(tracked, sv.Detections) and tracked.tracker_id.tolist() == [0]
    with pytest.raises(CionError, match="no tracker called Nobody"):
        TRACKERS.named("mine.Nobody")
