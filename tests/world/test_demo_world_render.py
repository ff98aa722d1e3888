"""A miniature world, rendered once: 3 short videos and a benchmark of 5 people."""

import re
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cion_core import tables, work
from demo_world import load_world, render_benchmark, render_sequences, render_videos, scene
from demo_world.benchmark import GALLERY, QUERY, TRAIN, cut_loosely
from demo_world.camera import Drift, Sensor, View
from demo_world.people import person
from demo_world.place import Place
from demo_world.videos import Job, plan, render
from demo_world.walks import Walk

WORLD = load_world(Path(__file__).parents[2] / "demo/world.yaml")


def _small(**seed):
    frame = WORLD.frame.model_copy(update={"width": 320, "height": 224})
    videos = {
        "people": 6,
        "cameras": 2,
        "count": 3,
        "seconds": 9.0,
        "appearances": [1.0, 1.0],
        "come_back": 0.3,
    }
    benchmark = {
        "train_people": 2,
        "test_people": 3,
        "cameras": 2,
        "images": (2, 3),
        "junk": 2,
        "distractors": 2,
    }
    return WORLD.model_copy(
        update={
            "frame": frame,
            "videos": WORLD.videos.model_copy(update=videos),
            "benchmark": WORLD.benchmark.model_copy(update=benchmark),
            **seed,
        }
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    truth = render_videos(_small(), folder / "videos")
    render_benchmark(_small(), folder / "benchmark")
    return folder, truth


def _frames(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames, capture.get(cv2.CAP_PROP_FPS)


def test_videos_decode_in_camera_folders(made):
    folder, truth = made
    names = ["cam1/video_01.mp4", "cam1/video_03.mp4", "cam2/video_02.mp4"]
    found = [
        path.relative_to(folder / "videos").as_posix()
        for path in (folder / "videos").rglob("*")
        if path.is_file()
    ]
    assert sorted(found) == names
    for name in names:
        frames, fps = _frames(folder / "videos" / name)
        assert len(frames) == 90 and fps == 10
        assert all(frame.shape == (224, 320, 3) for frame in frames)
    assert set(truth.video) == set(names)


def test_truth_is_a_table_of_boxes_inside_the_frame(made):
    _, truth = made
    tables.validate(tables.Truth, truth, "truth")
    assert (truth.visible > 0.05).all() and truth.visible.max() > 0.98
    assert ((truth.x1 >= 0) & (truth.x2 <= 320) & (truth.y1 >= 0) & (truth.y2 <= 224)).all()
    assert ((truth.x1 < truth.x2) & (truth.y1 < truth.y2)).all()
    assert not truth.duplicated(["video", "frame", "person"]).any()
    assert truth.frame.min() >= 10  # nobody stands in the first frames
    whole = truth[truth.visible > 0.97]
    assert (whole.y2 - whole.y1).between(40, 150).all()


def test_people_move_where_the_truth_says(made):
    """A person's box differs from the video's median picture; the empty first frame does not."""
    folder, truth = made
    name = truth.video.iloc[0]
    frames = np.array(_frames(folder / "videos" / name)[0], np.int16)
    empty = np.median(frames[:8], axis=0)
    changed = np.abs(frames - empty).max(axis=3) > 25
    inside = [
        changed[r.frame, int(r.y1) : int(r.y2), int(r.x1) : int(r.x2)].mean()
        for r in truth[(truth.video == name) & (truth.visible > 0.9)].itertuples()
    ]
    assert np.mean(inside) > 0.3
    assert changed[0].mean() < 0.01


def test_same_seed_same_bytes_whatever_the_process(made, tmp_path):
    folder, truth = made
    world = _small()
    video = "cam2/video_02.mp4"
    rows = render(Job(world, tmp_path, 1, video, tuple(plan(world)[1])))
    assert work.sha256(tmp_path / video) == work.sha256(folder / "videos" / video)
    again = truth[truth.video == video][["frame", "person", "x1"]].to_numpy().tolist()
    assert [[row["frame"], row["person"], row["x1"]] for row in rows] == again


def test_sequences_hold_the_truth_of_the_videos_in_the_form_of_the_mot_challenge(made, tmp_path):
    _, truth = made
    folders = render_sequences(_small(), tmp_path)
    assert [folder.name for folder in folders] == [
        "cam1-video_01",
        "cam2-video_02",
        "cam1-video_03",
    ]
    for folder, (video, rows) in zip(folders, truth.groupby(truth.video.str[-6:]), strict=True):
        images = sorted(path.name for path in (folder / "img1").iterdir())
        assert images == [f"{frame + 1:06d}.jpg" for frame in range(90)], video
        assert cv2.imread(str(folder / "img1/000001.jpg")).shape == (224, 320, 3)
        assert (
            "frameRate=10\nseqLength=90\nimWidth=320\nimHeight=224\n"
            in (folder / "seqinfo.ini").read_text()
        )
        lines = np.loadtxt(folder / "gt/gt.txt", delimiter=",")
        expected = np.column_stack(
            [
                rows.frame + 1,
                rows.person + 1,
                rows.x1 + 1,
                rows.y1 + 1,
                rows.x2 - rows.x1,
                rows.y2 - rows.y1,
                np.ones((len(rows), 2)),
                rows.visible,
            ]
        )
        np.testing.assert_allclose(lines, expected, atol=5e-4)


def test_another_seed_another_world(made, tmp_path):
    folder, _ = made
    world = _small(seed=7)
    video = "cam2/video_02.mp4"
    render(Job(world, tmp_path, 1, video, tuple(plan(world)[1])))
    assert work.sha256(tmp_path / video) != work.sha256(folder / "videos" / video)


def test_plan_spreads_people_over_videos():
    videos = plan(WORLD)
    times = Counter(who for video in videos for who in video)
    assert len(videos) == WORLD.videos.count and len(times) == WORLD.videos.people
    sizes = [len(video) for video in videos]
    assert max(sizes) - min(sizes) <= 2
    assert all(len(set(video)) == len(video) for video in videos)
    assert set(times.values()) == set(range(1, len(WORLD.videos.appearances) + 1))
    assert sum(n >= 3 for n in times.values()) > len(times) / 2


def test_benchmark_is_laid_out_like_market(made):
    folder, _ = made
    names = {
        part: [path.name for path in sorted((folder / "benchmark" / part).iterdir())]
        for part in (TRAIN, QUERY, GALLERY)
    }
    labels = defaultdict(Counter)
    for part, files in names.items():
        for name in files:
            match = re.fullmatch(r"(-1|\d{4})_c([12])s\d_\d{6}_01\.jpg", name)
            assert match, name
            labels[part][int(match[1]), int(match[2])] += 1
            image = cv2.imread(str(folder / "benchmark" / part / name))
            assert image.shape[0] >= 24 and image.shape[1] >= 12
    assert set(labels[TRAIN]) == {(p, c) for p in (1, 2) for c in (1, 2)}
    assert labels[QUERY] == {(p, c): 1 for p in (3, 4, 5) for c in (1, 2)}
    gallery = {key for key in labels[GALLERY] if key[0] > 0}
    assert gallery == set(labels[QUERY])  # so each query has a right answer in the other camera
    assert all(2 <= n <= 3 for n in labels[TRAIN].values())
    assert sum(n for (p, _), n in labels[GALLERY].items() if p == -1) == 2
    assert sum(n for (p, _), n in labels[GALLERY].items() if p == 0) == 2


def test_benchmark_has_a_light_of_its_own(made, tmp_path):
    dark = {"cast": 0.0, "gain": (0.3, 0.3), "gamma": (1.0, 1.0)}
    world = _small()
    lights = world.benchmark.light.model_copy(update=dark)
    benchmark = world.benchmark.model_copy(update={"light": lights})
    render_benchmark(world.model_copy(update={"benchmark": benchmark}), tmp_path)
    assert _brightness(tmp_path) < 0.7 * _brightness(made[0] / "benchmark")


def _brightness(folder):
    return np.mean([cv2.imread(str(path)).mean() for path in folder.rglob("*.jpg")])


def test_a_good_box_is_never_as_far_off_as_a_bad_one():
    image, box = np.zeros((400, 400, 3), np.uint8), (150.0, 100.0, 200.0, 250.0)
    image[100:250, 150:200] = 255
    rng = np.random.default_rng(0)
    shown = {
        bad: [cut_loosely(image, box, bad, rng).mean() / 255 for _ in range(500)]
        for bad in (False, True)
    }
    assert min(shown[False]) > max(shown[True])


def test_benchmark_repeats(made, tmp_path):
    folder, _ = made
    render_benchmark(_small(), tmp_path)
    first = {
        p.relative_to(folder / "benchmark"): work.sha256(p)
        for p in (folder / "benchmark").rglob("*.jpg")
    }
    assert first == {p.relative_to(tmp_path): work.sha256(p) for p in tmp_path.rglob("*.jpg")}


def test_shadows_are_as_deep_as_they_are_set():
    rng = np.random.default_rng(3)
    look = WORLD.look.model_copy(update={"shadow": (0.5, 0.5)})
    view = View.sample(WORLD.frame, rng)
    shades = [scene.build(view, look, rng).shade for _ in range(8)]
    for shade in shades:
        assert 0.5 * 0.94 * 0.7 < shade.min() < shade.max() <= 1.08
    assert np.median([shade.min() for shade in shades]) < 0.55


def test_exposure_and_balance_swing_as_far_as_they_are_set():
    rng = np.random.default_rng(3)
    grey = np.full((2, 2, 3), 100, np.uint8)
    drift = Drift.sample(WORLD.look.model_copy(update={"drift": 0.2}), fps=10, rng=rng)
    seen = np.log(np.array([drift.tone(grey, frame)[0, 0] for frame in range(600)], float) / 100)
    assert np.isclose(seen[:, 1].max(), 0.2, atol=0.02) and np.isclose(
        seen[:, 1].mean(), 0, atol=0.05
    )
    assert np.isclose((seen[:, 0] - seen[:, 1]).max(), 0.2, atol=0.03)
    still = Drift.sample(WORLD.look.model_copy(update={"drift": 0.0}), fps=10, rng=rng)
    assert (still.tone(grey, 17) == grey).all()


def test_whoever_stands_in_a_shadow_is_dark_and_frames_drift():
    """The left half of a place keeps half the light; at another time the exposure is another."""
    look = WORLD.look.model_copy(update={"drift": 0.2, "noise": (0.001, 0.001)})
    sensor = Sensor.sample(look, np.random.default_rng(0))
    place = Place(WORLD.frame, look, sensor, np.random.default_rng(1))
    shade = np.ones_like(place.scene.shade)
    shade[:, : shade.shape[1] // 2] = 0.5
    place.scene = replace(place.scene, shade=shade)
    who, z = person(np.random.default_rng(2)), 8.0
    stands = [
        Walk(0, np.array([[x, z]]), np.array([[0.0, -1.0]]), np.zeros(1)) for x in (-0.4, 0.4)
    ]
    dark, light = (place._layer(0, who, walk, 0).rgba.astype(float) for walk in stands)
    body = min(dark.shape[1], light.shape[1])
    ratio = dark[:, :body, :3].sum() / light[:, :body, :3].sum()
    assert np.isclose(ratio, 0.5**place.light.gamma, atol=0.08)
    empty = [
        place.shoot([], [], frame, np.random.default_rng(0))[0].mean()
        for frame in range(0, 150, 10)
    ]
    assert max(empty) / min(empty) > 1.2
