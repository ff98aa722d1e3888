"""The ingest stage on folders of all kinds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import crew_jobs
import cv2
import pandas as pd
import pytest
from films import numbered_image, record

from cion_core import listing, tables, work
from cion_core.errors import CionError
from cion_core.ingest import stage
from cion_core.ingest.settings import Ingest
from cion_core.ingest.video import Frames


def written() -> tuple[list[str], dict]:
    videos = tables.read(tables.Videos, "data/raw/videos.parquet")
    return list(videos.video), json.loads(Path("data/raw/ingest.json").read_text())


def test_users_clips_are_registered_where_they_are(ingested, workspace: Path, film) -> None:
    clip = film(workspace / "clips" / "cam1" / "a.mp4", frames=5)
    film(workspace / "clips" / "b.avi", frames=6)
    ingested("clips")
    names, report = written()
    videos = tables.read(tables.Videos, "data/raw/videos.parquet").set_index("video")
    assert names == ["b.avi", "cam1/a.mp4"]
    assert videos.loc["cam1/a.mp4"].to_dict() == {
        "path": "clips/cam1/a.mp4",
        "sha256": hashlib.sha256(clip.read_bytes()).hexdigest(),
        "fps": 10.0,
        "frames": 5,
        "width": 240,
        "height": 160,
        "group": "cam1",
    }
    assert videos.loc["b.avi", "group"] == "."
    assert list(Path("data/raw/videos").iterdir()) == []  # nothing is copied
    assert tables.read(tables.Truth, "data/raw/truth.parquet").empty
    assert report == {
        "source": "clips",
        "videos": 2,
        "set_aside": [],
        "passed_over": {},
        "clocks": {},
    }


def test_tables_say_the_same_wherever_the_source_lies(ingested, workspace: Path, film) -> None:
    told = []
    for place in ("here", "there"):
        clip = film(workspace / place / "a.mp4", frames=3)
        ingested(workspace / place)
        (path,) = tables.read(tables.Videos, "data/raw/videos.parquet").path
        assert Path(path).samefile(clip)
        told.append(path)
    assert told == ["data/sources/videos/a.mp4"] * 2


def test_equal_names_in_different_folders_are_two_videos(ingested, workspace: Path, film) -> None:
    film(workspace / "clips" / "one" / "a.mp4", frames=3)
    film(workspace / "clips" / "two" / "a.mp4", frames=4)
    ingested("clips")
    assert written()[0] == ["one/a.mp4", "two/a.mp4"]


def test_bad_videos_are_set_aside_with_a_reason(ingested, workspace: Path, film, capsys) -> None:
    film(workspace / "clips" / "good.mp4", frames=3)
    film(workspace / "clips" / "frameless.avi", frames=0)
    (workspace / "clips" / "empty.mp4").touch()
    cut = film(workspace / "clips" / "cut.mp4")
    cut.write_bytes(cut.read_bytes()[:1000])
    ingested("clips")
    names, report = written()
    assert names == ["good.mp4"]
    reasons = {row["video"]: row["reason"] for row in report["set_aside"]}
    assert set(reasons) == {"cut.mp4", "empty.mp4", "frameless.avi"}
    assert "0 bytes" in reasons["empty.mp4"]
    assert "empty.mp4 set aside: empty file (0 bytes)" in capsys.readouterr().out


def test_no_usable_video_names_what_was_looked_for_and_what_was_wrong(
    ingested, workspace: Path
) -> None:
    (workspace / "clips").mkdir()
    with pytest.raises(CionError, match=r"clips: no usable video .*\.mp4"):
        ingested("clips")
    (workspace / "clips" / "a.mp4").touch()
    with pytest.raises(CionError, match=r"a\.mp4: empty file"):
        ingested("clips")


def test_what_the_listing_could_not_read_is_set_aside_with_its_reason(
    ingested, workspace: Path, film
) -> None:
    film(workspace / "clips" / "good.mp4", frames=3)
    (workspace / "clips" / "gone.mp4").symlink_to("nowhere.mp4")
    ingested("clips")
    names, report = written()
    assert names == ["good.mp4"]
    assert report["set_aside"] == [
        {"video": "gone.mp4", "reason": "cannot be read: No such file or directory"}
    ]


def test_a_clip_that_vanished_after_it_was_listed_is_set_aside(workspace: Path, film) -> None:
    film(workspace / "clips" / "good.mp4", frames=3)
    gone = film(workspace / "clips" / "gone.mp4", frames=3)
    work.write_json("data/listing/videos.json", listing.list_videos("clips"))
    gone.unlink()
    stage.run(Ingest(source="clips"))
    assert written()[1]["set_aside"] == [
        {"video": "gone.mp4", "reason": "cannot be read: No such file or directory"}
    ]


def test_nothing_is_hashed_twice(workspace: Path, film, monkeypatch: pytest.MonkeyPatch) -> None:
    film(workspace / "clips" / "a.mp4", frames=3)
    work.write_json("data/listing/videos.json", listing.list_videos("clips"))
    monkeypatch.setattr(work, "sha256", lambda path: pytest.fail(f"{path} is hashed again"))
    stage.run(Ingest(source="clips"))
    assert written()[0] == ["a.mp4"]


def test_without_a_listing_or_with_another_sources(workspace: Path) -> None:
    with pytest.raises(CionError, match=r"videos\.json: no such file; `cion list` writes it"):
        stage.run(Ingest(source="clips"))
    work.write_json("data/listing/videos.json", {"source": "elsewhere", "files": []})
    with pytest.raises(
        CionError, match=r"of elsewhere, and ingest\.source is clips; run `cion list` again"
    ):
        stage.run(Ingest(source="clips"))


def test_a_world_is_rendered_with_its_truth(ingested, workspace: Path, project: Path) -> None:
    world = (project / "demo" / "world.yaml").read_text()
    small = {"people": 2, "cameras": 1, "count": 1, "seconds": 6}
    for key, value in small.items():  # the first of each key is the section `videos`
        start = world.index(f"  {key}:")
        world = world[:start] + f"  {key}: {value}" + world[world.index("\n", start) :]
    (workspace / "mine").mkdir()
    (workspace / "mine" / "world.yaml").write_text(world)
    ingested("mine")
    names, _ = written()
    videos = tables.read(tables.Videos, "data/raw/videos.parquet")
    assert list(videos.path) == [f"data/raw/videos/{name}" for name in names]
    assert videos.frames.tolist() == [60]
    truth = tables.read(tables.Truth, "data/raw/truth.parquet")
    assert set(truth.video) <= set(names)


def ingested_with(**settings: object) -> tuple[pd.DataFrame, dict]:
    """List and ingest ./clips with these settings; the table of videos by name, and the report."""
    work.write_json("data/listing/videos.json", listing.list_videos("clips"))
    stage.run(Ingest(source="clips", **settings))
    videos = tables.read(tables.Videos, "data/raw/videos.parquet").set_index("video")
    return videos, json.loads(Path("data/raw/ingest.json").read_text())


def test_what_the_decoder_cannot_open_is_set_aside_or_passed_over_by_its_name(
    workspace: Path, film, capsys
) -> None:
    film(workspace / "clips" / "good.mp4", frames=3)
    for name in ("broken.mp4", "strange.bin", "other.bin"):
        (workspace / "clips" / name).write_bytes(bytes(range(256)) * 9)
    (workspace / "clips" / "notes.txt").write_text("text")
    videos, report = ingested_with()
    assert list(videos.index) == ["good.mp4"]
    assert [row["video"] for row in report["set_aside"]] == ["broken.mp4"]
    assert report["passed_over"] == {".bin": 2, ".txt": 1}
    assert "ingest: 3 files passed over: .bin 2, .txt 1" in capsys.readouterr().out


def test_a_replaced_clock_is_told(workspace: Path, capsys) -> None:
    record(workspace / "clips" / "a.h264", range(0, 1600, 40), rate=25, container="h264")
    _, report = ingested_with()
    assert report["clocks"]["a.h264"].startswith("there are no timestamps: 25 frames a second")
    assert "ingest: a.h264: there are no timestamps" in capsys.readouterr().out


def test_a_sequence_has_the_rate_that_it_is_given(workspace: Path, film) -> None:
    film(workspace / "clips" / "good.mp4", frames=3)
    (workspace / "clips" / "frames").mkdir()
    for number in range(20):
        cv2.imwrite(f"clips/frames/{number:06d}.jpg", numbered_image(number))
    videos, report = ingested_with()
    assert list(videos.index) == ["good.mp4"]
    assert "a sequence of images without a rate" in report["set_aside"][0]["reason"]
    videos, report = ingested_with(sequence_fps=12.5)
    assert (
        videos.loc["frames", ["fps", "frames"]].tolist() == [12.5, 20] and report["set_aside"] == []
    )


def test_imported_clips_are_copies_that_the_pipeline_goes_by(workspace: Path, film) -> None:
    clip = film(workspace / "clips" / "cam1" / "a.mp4", frames=5)
    record(workspace / "clips" / "broken.mp4", range(0, 500, 100)).write_bytes(b"nothing")
    (workspace / "clips" / "frames").mkdir()
    for number in range(20):
        cv2.imwrite(f"clips/frames/{number:06d}.png", numbered_image(number))
    videos, _ = ingested_with(sequence_fps=10, **{"import": True})
    assert videos.path.to_dict() == {
        "cam1/a.mp4": "data/raw/videos/cam1/a.mp4", "frames": "data/raw/videos/frames",
    }  # fmt: skip
    assert Path("data/raw/videos/cam1/a.mp4").read_bytes() == clip.read_bytes()
    assert not Path("data/raw/videos/broken.mp4").exists()
    assert len(list(Frames(Path("data/raw/videos/frames"), 10, 10))) == 20


def test_long_and_odd_names_and_folders_are_videos_like_others(workspace: Path, film) -> None:
    names = ["clips:1/a.mp4", f"{'日' * 78}.mp4", "a#b?c %41.mp4", "-i.mp4"]
    for name in names:
        film(workspace / "clips" / "a.mp4", frames=3).rename(_made(workspace / "clips" / name))
    videos, report = ingested_with()
    assert sorted(videos.index) == sorted(names) and report["set_aside"] == []


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_a_clip_that_kills_its_process_is_set_aside_and_the_others_go_on(
    workspace: Path, film, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.mp4", "bad.mp4", "c.mp4"):
        film(workspace / "clips" / name, frames=3)
    monkeypatch.setattr(stage, "register", crew_jobs.register_or_die)
    videos, report = ingested_with()
    assert list(videos.index) == ["a.mp4", "c.mp4"]
    assert report["set_aside"] == [
        {"video": "bad.mp4", "reason": "the process died on it twice: killed by signal 6 (aborted)"}
    ]
