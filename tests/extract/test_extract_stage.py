"""The extract stage, from the table of videos to shards, crops and report."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import shot_films
from shot_films import CUT, HEIGHT, MIDDLE, RATE, WIDTH

from cion_core import tables, work
from cion_core.crops import CropStore, CropWriter
from cion_core.errors import CionError
from cion_core.extract import stage, video_crops
from cion_core.extract.album import Album, sharpness
from cion_core.extract.detectors import DETECTORS
from cion_core.extract.detectors.base import detections
from cion_core.extract.settings import Extract
from cion_core.extract.shots import Look
from cion_core.ingest import video

OUT = Path("data/tracklets")


@pytest.fixture
def extract(ingested: Callable) -> Callable[..., tuple[pd.DataFrame, dict]]:
    """extract(settings, key=value): ingest ./clips and extract with these settings changed.

    Gives the crops and the report.
    """

    def run(settings: Extract, **changes: object) -> tuple[pd.DataFrame, dict]:
        ingested("clips")
        stage.run(settings.model_copy(update=changes))
        return written()

    return run


def written() -> tuple[pd.DataFrame, dict]:
    return tables.read(tables.Crops, OUT / "crops.parquet"), json.loads(
        (OUT / "extract.json").read_text()
    )


def test_one_bad_of_many_and_equal_names(
    ingested, workspace: Path, film, walkers, settings, capsys
) -> None:
    film(workspace / "clips" / "one" / "a.mp4", walkers)
    film(workspace / "clips" / "two" / "a.mp4", walkers[:1])
    film(workspace / "clips" / "nobody.mp4", frames=20)
    long = film(workspace / "clips" / "cut.avi", walkers)
    long.write_bytes(long.read_bytes()[: long.stat().st_size // 2])
    gone = film(workspace / "clips" / "gone.mp4", walkers)
    ingested("clips")
    gone.unlink()
    stage.run(settings)
    crops, report = written()

    assert crops.crop.tolist() == list(range(len(crops)))
    people = crops.groupby("video").tracklet.nunique()
    assert people["one/a.mp4"] == 2 and people["two/a.mp4"] == 1
    assert crops.groupby("tracklet").video.nunique().max() == 1
    assert crops.groupby("tracklet").size().min() >= settings.min_crops
    shards = crops.drop_duplicates("video").set_index("video").shard
    assert shards.nunique() == 3 and shards.str.fullmatch(r"\d{6}\.tar").all()
    assert not crops.duplicated(["tracklet", "frame"]).any()
    assert ((crops.x2 <= 240) & (crops.y2 <= 160)).all()
    assert (crops[["x1", "y1", "x2", "y2"]] % 1 == 0).all(axis=None)
    assert (crops.time_s == crops.frame / 10).all()

    store = CropStore(OUT / "crops", crops)
    for i, row in enumerate(crops.itertuples()):
        assert store.read(i).shape == (row.y2 - row.y1, row.x2 - row.x1, 3)
    red = crops.index[crops.video == "two/a.mp4"]
    colours = np.array([store.read(i)[30:50, 5:20].mean(axis=(0, 1)) for i in red])
    # Colours are RGB, and the crop is cut where the person is.
    assert (colours[:, 0] > 150).all() and (colours[:, 2] < 110).all()
    of_jpegs = [sharpness(store.read(i)) for i in range(len(crops))]
    np.testing.assert_allclose(crops.sharpness, of_jpegs, rtol=0.2)

    aside = {row["video"]: row["reason"] for row in report["set_aside"]}
    assert set(aside) == {"nobody.mp4", "gone.mp4"}
    assert aside["nobody.mp4"] == "no people found in 20 frames looked at"
    used = {row["video"]: row for row in report["videos"]}
    assert used["cut.avi"]["truncated"] and 0 < used["cut.avi"]["frames"] < 30
    assert not used["one/a.mp4"]["truncated"] and used["one/a.mp4"]["frames"] == 40
    assert report["crops"] == len(crops) and report["tracklets"] == crops.tracklet.nunique()
    assert "nobody.mp4 set aside" in capsys.readouterr().out
    assert not any(work.ROOT.glob("extract/*"))  # nothing is left behind


def test_sharpness_is_the_spread_of_the_laplacian_and_falls_with_blur() -> None:
    lines = np.zeros((5, 6, 3), np.uint8)
    lines[:, 3] = 255
    across = np.array([0, 0, 255, -510, 255, 0])  # of every row; the border is mirrored, and flat
    assert sharpness(lines) == pytest.approx(across.std())
    assert sharpness(np.full((5, 6, 3), 99, np.uint8)) == 0
    noise = np.random.default_rng(0).integers(0, 256, (64, 32, 3)).astype(np.uint8)
    found = [sharpness(cv2.GaussianBlur(noise, (0, 0), sigma)) for sigma in (0.3, 1, 3)]
    assert found[0] > 2 * found[1] > 4 * found[2] > 0


def test_co_occurring_tracklets_share_frames_and_keep_the_crop_rate(
    extract, workspace, film, walkers, settings
) -> None:
    film(workspace / "clips" / "a.mp4", walkers)
    crops, _ = extract(settings, crop_rate=2)
    frames = [set(group.frame) for _, group in crops.groupby("tracklet")]
    assert len(frames) == 2
    assert len(frames[0] & frames[1]) >= 6  # 4 s at 2 per second, less the first
    assert (np.diff(sorted(frames[0]))[1:] == 5).all()


def test_results_do_not_depend_on_the_number_of_processes(
    extract, workspace, film, walkers, settings, monkeypatch
) -> None:
    for name in ("a", "b", "c"):
        film(workspace / "clips" / f"{name}.mp4", walkers, frames=25)
    results = []
    for processes in (1, 3):
        monkeypatch.setattr(os, "cpu_count", lambda processes=processes: processes)
        crops, report = extract(settings)
        results.append(
            (crops, report, [path.read_bytes() for path in sorted((OUT / "crops").rglob("*.tar"))])
        )
    assert results[0][0].equals(results[1][0])
    assert results[0][1:] == results[1][1:]


def test_a_tracklet_of_one_crop_is_allowed(extract, workspace, film, walkers, settings) -> None:
    film(workspace / "clips" / "a.mp4", walkers, frames=3)
    with pytest.raises(
        CionError, match=r"no tracklet of at least min_crops = 3 crops .* 2 shorter tracklets"
    ):
        extract(settings)
    crops, _ = extract(settings, min_crops=1)
    assert crops.groupby("tracklet").size().tolist() == [1, 1]


def test_nobody_anywhere_says_what_to_try(extract, workspace, film, settings) -> None:
    film(workspace / "clips" / "a.mp4", frames=12)
    film(workspace / "clips" / "b.mp4", frames=12)
    with pytest.raises(
        CionError,
        match=r"(?s)no people in any of 2 videos.*a\.mp4: no people found.*min_height \(40\)",
    ):
        extract(settings)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_run_goes_on_where_another_was_killed(
    extract, workspace, film, walkers, settings
) -> None:
    for name in ("a", "b"):
        film(workspace / "clips" / f"{name}.mp4", walkers, frames=25)
    whole, _ = extract(settings)
    with pytest.MonkeyPatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(shutil, "move", interrupt)
        stage.run(settings)  # interrupted as it gathers the first video
    (workspace / "clips" / "b.mp4").unlink()  # b is done, and needs its clip no more
    stage.run(settings)
    assert tables.read(tables.Crops, OUT / "crops.parquet").equals(whole)
    assert len(list((OUT / "crops").glob("*.tar"))) == 2


def test_a_video_that_fails_half_way_leaves_no_shard(
    tmp_path: Path, film, walkers, settings
) -> None:
    path = film(tmp_path / "a.mp4", walkers)
    seen: list[int] = []

    def stop(frames: int) -> None:
        seen.append(frames)
        if len(seen) == 30:
            raise KeyboardInterrupt

    detector = DETECTORS.named(settings.detector)(settings)
    probe = video.probe(path)
    shard = tmp_path / "out" / "a.tar"
    with pytest.raises(KeyboardInterrupt):
        video_crops.extract_video(path, probe, detector, settings, shard, stop)
    assert list((tmp_path / "out").iterdir()) == []
    crops, _ = video_crops.extract_video(path, probe, detector, settings, shard, seen.append)
    assert len(crops) > 0 and shard.exists()


def test_the_album_waits_for_min_crops_and_takes_one_crop_per_slot(tmp_path: Path) -> None:
    image, box = np.zeros((100, 100, 3), np.uint8), np.array([10, 10, 40, 90])
    with CropWriter(tmp_path / "a.tar") as writer:
        album = Album(writer, crop_rate=2, min_crops=3)
        for index in range(10):
            # There are two slots, 0 and 5.
            album.offer(Look(index, index / 10, image), 7, box, 0.9, box[None])
        assert album.rows == [] and len(album.waiting[7]) == 2
        album.offer(Look(12, 1.2, image), 7, box, 0.9, box[None])  # seen late in the third slot
        album.offer(Look(12, 1.2, image), 8, box, 0.9, box[None])
    assert album.table().frame.tolist() == [0, 5, 12]
    assert album.table().tracklet.tolist() == [0, 0, 0]
    assert list(album.waiting) == [8]


def test_usable_boxes_are_whole_pixels_inside_the_frame() -> None:
    boxes = [
        [-5.4, -3, 30.4, 99.6],
        [200, 10, 260, 90],
        [50, 50, 80, 60],
        [300, 10, 340, 90],
        [10, 10, 40, 90],
    ]
    found = detections(boxes, [0.9, 0.9, 0.9, 0.9, 0.2])
    usable = video_crops.keep_usable(found, (160, 240, 3), 0.3, 40)
    assert usable.xyxy.tolist() == [[0, 0, 30, 100], [200, 10, 240, 90]]


def excerpt(clip: Path, frames: int, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    probe = video.probe(clip)
    size = (probe.width, probe.height)
    writer = cv2.VideoWriter(
        str(folder / f"{clip.stem}.avi"), cv2.VideoWriter_fourcc(*"MJPG"), probe.fps, size
    )
    for _, _, frame in islice(video.Frames(clip, probe.fps, probe.fps), frames):
        writer.write(frame)
    writer.release()


@pytest.mark.slow
def test_hog_on_real_clips(extract, workspace: Path, clips: Path, settings) -> None:
    excerpt(clips / "vtest.avi", 240, workspace / "clips")
    excerpt(clips / "one-by-one-person-detection.mp4", 120, workspace / "clips")
    crops, report = extract(settings, detector="hog", rate=2, lost_seconds=2, min_height=64)
    names = [row["video"] for row in report["videos"] + report["set_aside"]]
    assert sorted(names) == ["one-by-one-person-detection.avi", "vtest.avi"]
    street = crops[crops.video == "vtest.avi"]
    assert ((street.x2 <= 768) & (street.y2 <= 576) & (street.y2 - street.y1 >= 64)).all()
    lengths = street.groupby("tracklet").size()
    assert len(lengths) >= 5 and lengths.max() >= 6
    store = CropStore(OUT / "crops", crops)
    for row in range(len(crops)):
        assert store.read(row).size


def joined(path: Path, *parts: tuple[Path, int]) -> Path:
    """A film of the first frames of several, one after another, at one size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (480, 360))
    for clip, frames in parts:
        probe = video.probe(clip)
        for _, _, image in islice(video.Frames(clip, probe.fps, probe.fps), frames):
            writer.write(cv2.resize(image, (480, 360)))
    writer.release()
    return path


@pytest.mark.slow
def test_real_clips_joined_have_no_tracklet_through_the_joint(
    extract, workspace: Path, clips: Path, settings
) -> None:
    street, room = clips / "vtest.avi", clips / "one-by-one-person-detection.mp4"
    joined(workspace / "clips" / "a.avi", (street, 60), (room, 60), (street, 60))
    crops, report = extract(settings, detector="hog", min_height=50, min_crops=1, rate=5)
    assert report["videos"][0]["shots"] == 3
    assert (crops.shot == crops.frame // 60).all()
    assert crops.groupby("tracklet").shot.nunique().max() == 1
    assert crops.shot.nunique() >= 2


FINDER = """
import numpy as np

from cion_core.config import Section
from cion_core.extract.detectors.base import Detector, detections


class Finder(Detector):
    about = "one box, always the same"

    class Settings(Section):
        box: tuple[int, int, int, int]

    def detect(self, frame, index):
        return detections([self.settings.box], [0.9])
"""


@pytest.fixture
def finder(own_file: Callable, settings) -> Extract:
    """The settings with a detector of one file in the working folder."""
    own_file(FINDER)
    return Extract.model_validate(
        settings.model_dump()
        | {"detector": "mine.Finder", "mine": {"Finder": {"box": [50, 20, 80, 120]}}}
    )


def test_a_detector_in_one_file_of_the_users(
    extract, finder, film, workspace: Path, capsys
) -> None:
    film(workspace / "clips" / "a.mp4")
    film(workspace / "clips" / "b.mp4")
    crops, report = extract(finder)
    assert (crops[["x1", "y1", "x2", "y2"]].to_numpy() == [50, 20, 80, 120]).all()
    assert report["tracklets"] == 2 and crops.groupby("video").size().tolist() == [12, 12]
    assert "extract: mine.Finder on 2 videos" in capsys.readouterr().out
    assert DETECTORS.files("mine.Finder")[0] == workspace / "mine.py"


def test_no_tracklet_goes_on_through_a_cut(extract, finder, workspace: Path) -> None:
    """Somebody stands at one spot before the cut, and somebody else at the same spot behind it."""
    path = workspace / "clips" / "a.avi"
    path.parent.mkdir()
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), RATE, (WIDTH, HEIGHT))
    for image in shot_films.film(CUT["a hard cut"], 0):
        writer.write(image)
    writer.release()
    crops, report = extract(finder)
    assert report["videos"][0]["shots"] == 2
    assert crops.tracklet.nunique() == 2
    assert ((crops.frame >= MIDDLE * RATE) == (crops.shot == 1)).all()


def test_a_detectors_own_settings_are_checked(finder) -> None:
    with pytest.raises(ValueError, match="box"):
        Extract.model_validate(finder.model_dump() | {"mine": {"Finder": {"box": [1]}}})
    with pytest.raises(
        ValueError, match="unknown detector 'rcnn'; valid are hog, motion, onnx, yolo"
    ):
        Extract.model_validate(finder.model_dump() | {"detector": "rcnn"})


def test_an_edited_detector_does_not_go_on_with_what_another_found(
    extract, finder, film, workspace, monkeypatch
):
    film(workspace / "clips" / "a.mp4")
    keys = []
    key = work.key
    monkeypatch.setattr(work, "key", lambda *parts: keys.append(key(*parts)) or keys[-1])
    extract(finder)
    (workspace / "mine.py").write_text(FINDER + "# edited")
    extract(finder)
    # The weights of a detector that is not in use change nothing.
    extract(Extract.model_validate(finder.model_dump() | {"yolo": {"weights": "other.pt"}}))
    assert keys[0] != keys[1] == keys[2]


@pytest.mark.parametrize("which", ["settings", "finder"])
def test_settings_reach_other_processes(which: str, request: pytest.FixtureRequest) -> None:
    """The class of a section with its parts exists in one process alone; another makes it again."""
    p = request.getfixturevalue(which)
    again = pickle.loads(pickle.dumps(p))
    assert again.model_dump() == p.model_dump() and again.own() == p.own()
    assert again.settings(p.detector) == p.settings(p.detector)
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).model_dump_json())"
    there = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(p), capture_output=True)
    assert not there.returncode, there.stderr.decode()
    assert there.stdout.decode().strip() == p.model_dump_json()
