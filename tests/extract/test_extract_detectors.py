"""The detectors: silhouettes and background as pure functions, then whole frames."""

from __future__ import annotations

import importlib.util
import threading
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import supervision as sv
from films import record

from cion_core.errors import CionError
from cion_core.extract.detectors import _background, hog, motion, yolo
from cion_core.extract.detectors import _silhouettes as silhouettes
from cion_core.extract.detectors._silhouettes import Stature
from cion_core.extract.settings import Extract
from cion_core.ingest import video


def mask(*boxes: tuple[int, int, int, int], shape: tuple[int, int] = (200, 300)) -> np.ndarray:
    image = np.zeros(shape, np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 1
    return image


def found(image: np.ndarray, view: Stature | None = None) -> list[list[int]]:
    return sorted(silhouettes.find_people(image, 40, view)[0].astype(int).tolist())


def test_one_person_is_one_box() -> None:
    assert found(mask((100, 50, 130, 140))) == [[100, 50, 130, 140]]
    assert silhouettes.find_people(mask((100, 50, 130, 140)), 40)[1] == pytest.approx([1.0])


def test_an_empty_mask_has_nobody() -> None:
    boxes, confidence = silhouettes.find_people(mask(), 40)
    assert boxes.shape == (0, 4) and confidence.shape == (0,)


def test_too_low_too_wide_and_too_thin_are_nobody() -> None:
    assert found(mask((10, 10, 25, 45), (50, 20, 150, 80), (200, 10, 205, 150))) == []


def test_a_head_and_legs_above_each_other_are_one_person() -> None:
    assert found(mask((105, 50, 125, 70), (100, 75, 130, 140))) == [[100, 50, 130, 140]]


def test_two_people_above_each_other_are_two() -> None:
    assert len(found(mask((100, 10, 125, 70), (102, 80, 130, 150)))) == 2


def test_the_views_stature_decides_what_belongs_together() -> None:
    # The gap is wide, as of a belt in the background's colour.
    parts = mask((100, 50, 130, 78), (100, 95, 130, 140))
    assert found(parts) == [[100, 95, 130, 140]]
    assert found(parts, Stature(90, 0)) == [[100, 50, 130, 140]]
    assert len(found(mask((100, 50, 130, 110), (102, 112, 132, 172)), Stature(60, 0))) == 2


def test_two_who_touch_are_divided_between_their_heads() -> None:
    group = mask((100, 60, 128, 150), (124, 70, 152, 150))
    for x, y in ((114, 55), (138, 65)):
        cv2.circle(group, (x, y), 7, 1, -1)
    assert len(found(group)) == 2


def test_a_size_that_the_view_does_not_let_expect_is_unlikely() -> None:
    person = mask((100, 50, 130, 140))
    usual, unusual = (
        silhouettes.find_people(person, 40, Stature(height, 0))[1][0] for height in (90, 45)
    )
    assert usual == pytest.approx(1.0) and unusual < 0.3


def test_stature_is_the_line_through_most_people() -> None:
    feet = np.linspace(60, 190, 40)
    boxes = np.stack([feet * 0 + 10, feet - (20 + 0.5 * feet), feet * 0 + 40, feet], axis=1)
    boxes[::8, 1] -= 60  # some are groups
    view = silhouettes.fit_stature(boxes)
    assert (view.at_top, view.slope) == (pytest.approx(20, abs=1e-3), pytest.approx(0.5, abs=1e-3))
    assert silhouettes.fit_stature(boxes[:10]) is None


def test_still_is_the_most_frequent_not_the_median() -> None:
    rng = np.random.default_rng(0)
    samples = np.full((50, 4, 5, 3), 100.0)
    for i in range(30):  # somebody else each time, 60 % of it
        samples[i] = rng.uniform(120, 255)
    samples = (samples + rng.normal(0, 2, samples.shape)).astype(np.uint8)
    background, noise = _background.find_still(samples)
    assert background == pytest.approx(np.full((4, 5, 3), 100), abs=3)
    assert np.median(samples, axis=0).min() > 110
    assert 1 < noise.mean() < 4


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 80])
def test_still_of_equal_samples_is_that_sample(n: int) -> None:
    sample = np.random.default_rng(n).integers(0, 256, (40, 7, 3), np.uint8)
    background, noise = _background.find_still(np.repeat(sample[None], n, axis=0))
    assert (background == sample).all() and (noise == 0).all()


def test_who_stood_there_too_long_is_healed_out_of_the_background() -> None:
    rng = np.random.default_rng(0)
    wall = cv2.GaussianBlur(rng.uniform(90, 160, (120, 160, 3)).astype(np.float32), (21, 21), 0)
    samples = np.repeat(wall[None], 40, axis=0)
    samples[10:38, 30:90, 60:85] = 20  # 70 % of the time
    samples = (samples + rng.normal(0, 1.5, samples.shape)).clip(0, 255).astype(np.uint8)
    background, noise = _background.find_still(samples)
    assert background[60, 70].max() < 30
    healed = _background.heal_ghosts(background, 8 + 4 * noise, samples)
    assert np.abs(healed - wall).max() < 15
    assert (
        (_background.find_foreground(samples[20], healed, 8 + 4 * noise)[32:88, 62:83]).mean() > 0.9
    )


def test_foreground_forgives_a_change_of_exposure() -> None:
    rng = np.random.default_rng(0)
    background = cv2.GaussianBlur(rng.uniform(40, 160, (120, 160, 3)).astype(np.float32), (9, 9), 0)
    image = (background * 1.3).astype(np.uint8)
    image[30:90, 60:85] = (20, 20, 230)
    front = _background.find_foreground(image, background, np.full_like(background, 8))
    assert front[30:90, 60:85].mean() > 0.95
    front[27:93, 57:88] = 0
    assert front.sum() == 0


def test_motion_finds_walkers_from_the_first_frame_on(
    tmp_path: Path, film, walkers, settings
) -> None:
    path = film(tmp_path / "a.mp4", walkers)
    probe = video.probe(path)
    detector = motion.Motion(settings)
    detector.begin(path, probe)
    for index, _, frame in video.Frames(path, probe.fps, 10):
        boxes = detector.detect(frame, index).xyxy
        truth = np.array(
            [[x + s * index - 12, 50, x + s * index + 13, 131] for _, x, s in walkers], np.float32
        )
        assert len(boxes) == 2
        assert (sv.box_iou_batch(truth.clip(0, 240), boxes).max(axis=1) > 0.75).all()


def test_motion_sees_long_videos_through_a_window(
    tmp_path: Path, film, walkers, settings, monkeypatch
) -> None:
    monkeypatch.setattr(motion, "SAMPLES", 10)
    monkeypatch.setattr(motion, "SPAN", 2.0)
    path = film(tmp_path / "a.mp4", walkers)
    detector = motion.Motion(settings)
    detector.begin(path, video.probe(path))
    counts = [len(detector.detect(frame, index)) for index, _, frame in video.Frames(path, 10, 10)]
    assert len(counts) == 40 and np.mean(np.equal(counts, 2)) > 0.7


def wall_of(seed: int) -> np.ndarray:
    """A place with coarse structure, BGR uint8 [160, 240, 3]."""
    tiles = np.random.default_rng(seed).integers(40, 200, (10, 15, 3), np.uint8)
    return cv2.resize(tiles, (240, 160), interpolation=cv2.INTER_NEAREST)


def test_each_view_of_a_cut_film_has_a_background_of_its_own(tmp_path: Path, settings) -> None:
    """Two places in turn, with somebody who walks in each.

    From the first frame after a cut on, nothing else is found.
    """
    shots, length = (0, 1, 0), 30

    def paint(number: int) -> np.ndarray:
        image = wall_of(shots[number // length]).copy()
        cv2.ellipse(image, (30 + 6 * (number % length), 90), (12, 40), 0, 0, 360, (20, 20, 230), -1)
        noise = np.random.default_rng(number).normal(0, 2, image.shape)
        return (image + noise).clip(0, 255).astype(np.uint8)

    frames = length * len(shots)
    path = record(tmp_path / "a.mp4", [100 * number for number in range(frames)], paint=paint)
    probe = video.probe(path)
    detector = motion.Motion(settings)
    detector.begin(path, probe)
    right = 0
    for index, _, frame in video.Frames(path, probe.fps, probe.fps):
        (box,) = detector.detect(frame, index).xyxy
        true = 30 + 6 * (index % length)
        right += bool(abs((box[0] + box[2]) / 2 - true) < 8 and box[3] - box[1] > 70)
    assert right == frames


def test_views_are_numbered_and_somebody_close_to_the_camera_is_none() -> None:
    rng = np.random.default_rng(0)
    hashes = {name: rng.random((16, 16)) < 0.5 for name in "abc"}
    numbers = motion.number_views([hashes[name] for name in "aabaaaccccaa"])
    assert numbers.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0]
    assert motion.number_views([hashes[name] for name in "baaa"]).tolist() == [0, 0, 0, 0]
    assert motion.number_views([hashes[name] for name in "abc"]).tolist() == [0, 0, 0], (
        "of nothing there is enough"
    )


def test_hog_maps_margins_to_confidence_and_leaves_no_duplicates(clips: Path, settings) -> None:
    detector = hog.Hog(settings)
    _, _, frame = next(iter(video.Frames(clips / "vtest.avi", 10, 1)))
    people = detector.detect(frame, 0)
    assert len(people) >= 2
    assert ((people.confidence >= 0) & (people.confidence < 1)).all()
    overlap = sv.box_iou_batch(people.xyxy, people.xyxy) - np.eye(len(people))
    assert overlap.max() <= 0.5
    assert len(detector.detect(np.zeros_like(frame), 0)) == 0


@pytest.mark.parametrize("shape", [(48, 320), (320, 48), (1, 1), (127, 63), (85, 42)])
def test_hog_pads_frames_that_are_smaller_than_its_window(settings, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for frame in (noise, np.zeros_like(noise)):
        found = hog.Hog(settings).detect(frame, 0)
        assert found.xyxy.shape == (len(found), 4)


def test_hog_finds_the_same_people_in_a_frame_that_is_padded_as_without(
    clips: Path, settings
) -> None:
    """A crop as low as the window, once with room below and once without."""
    _, _, frame = next(iter(video.Frames(clips / "vtest.avi", 10, 1)))
    whole = hog.Hog(settings).detect(frame, 0)
    x1, y1, x2, y2 = whole.xyxy[whole.confidence.argmax()].astype(int)
    low = np.ascontiguousarray(frame[max(0, y1 - 5) : y2 + 5, max(0, x1 - 40) : x2 + 40])
    found = hog.Hog(settings).detect(low, 0)
    assert len(found) >= 1
    assert (found.xyxy[:, :2] >= -5).all() and (found.xyxy[:, 1] < low.shape[0]).all()


def test_many_frames_are_each_what_one_is_of_a_detector_without_batches(
    clips: Path, settings
) -> None:
    frames = [frame for _, _, frame in islice(video.Frames(clips / "vtest.avi", 10, 1), 2)]
    detector = hog.Hog(settings)
    many = detector.detect_many(frames, [0, 10])
    assert [found.xyxy.tolist() for found in many] == [
        detector.detect(frame, 0).xyxy.tolist() for frame in frames
    ]


def pretend(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    """Whether ultralytics looks installed."""
    find, seen = importlib.util.find_spec, object() if installed else None
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: seen if name == "ultralytics" else find(name)
    )


def with_weights(settings: Extract, weights: str) -> Extract:
    return Extract.model_validate(
        settings.model_dump() | {"detector": "yolo", "yolo": {"weights": weights}}
    )


def test_yolo_without_ultralytics_says_what_to_install(settings, monkeypatch) -> None:
    pretend(monkeypatch, installed=False)
    with pytest.raises(CionError, match=r"pip install -e '\.\[yolo\]'.*hog, motion"):
        yolo.Yolo.check(with_weights(settings, "yolo11n.pt"))


def test_yolo_with_no_weights_and_a_network_that_hangs_gives_up(
    workspace: Path, settings, monkeypatch
) -> None:
    pretend(monkeypatch, installed=True)
    monkeypatch.setattr(yolo.socket, "create_connection", lambda *_, **__: threading.Event().wait())
    with pytest.raises(
        CionError, match=f"no network.*put the weights at {workspace}/yolo11n.pt.*hog, motion"
    ):
        yolo.Yolo.check(with_weights(settings, "yolo11n.pt"))


def test_yolo_weights_by_path_are_never_looked_for_in_the_network(
    workspace: Path, settings, monkeypatch
) -> None:
    pretend(monkeypatch, installed=True)
    asked = []
    monkeypatch.setattr(yolo.socket, "create_connection", lambda *_, **__: asked.append(1))
    with pytest.raises(
        CionError,
        match=f"weights/mine.pt: no such file; put the weights at {workspace}/weights/mine.pt",
    ):
        yolo.Yolo.check(with_weights(settings, "weights/mine.pt"))
    (workspace / "mine.pt").touch()
    yolo.Yolo.check(with_weights(settings, "mine.pt"))
    assert not asked


def test_yolo_weights_that_are_none(tmp_path: Path, settings) -> None:
    pytest.importorskip(
        "ultralytics", reason="ultralytics is not installed: pip install -e '.[yolo]'"
    )
    (tmp_path / "mine.pt").write_bytes(b"no weights")
    with pytest.raises(CionError, match=r"mine\.pt: ultralytics cannot load it"):
        yolo.Yolo(with_weights(settings, str(tmp_path / "mine.pt")))


def test_yolo_finds_people_alike_alone_and_in_batches(
    clips: Path, yolo_weights: Path, settings
) -> None:
    detector = yolo.Yolo(with_weights(settings, str(yolo_weights)))
    frames = [frame for _, _, frame in islice(video.Frames(clips / "vtest.avi", 10, 1), 3)]
    many = detector.detect_many(frames, [0, 10, 20])
    for frame, people in zip(frames, many, strict=True):
        assert len(people) >= 2
        assert (people.xyxy[:, 3] - people.xyxy[:, 1] > people.xyxy[:, 2] - people.xyxy[:, 0]).all()
        np.testing.assert_allclose(people.xyxy, detector.detect(frame, 0).xyxy, atol=0.05)


def test_an_export_in_a_folder_is_weights_too(workspace: Path, settings, monkeypatch) -> None:
    pretend(monkeypatch, installed=True)
    folder = workspace / "yolo11n_openvino_model"
    folder.mkdir()
    (folder / "yolo11n.bin").touch()
    p = with_weights(settings, str(folder))
    yolo.Yolo.check(p)
    assert yolo.Yolo.inputs(p) == [folder / "yolo11n.bin"]
