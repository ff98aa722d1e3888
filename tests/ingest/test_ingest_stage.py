"""The ingest stage on folders of all kinds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from cion_core import listing, tables, work
from cion_core.errors import CionError
from cion_core.ingest import stage
from cion_core.ingest.settings import Ingest


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
        "path": "clips/cam1/a.mp4", "sha256": hashlib.sha256(clip.read_bytes()).hexdigest(), "fps": 10.0,
        "frames": 5, "width": 240, "height": 160, "group": "cam1",
    }  # fmt: skip
    assert videos.loc["b.avi", "group"] == "."
    assert list(Path("data/raw/videos").iterdir()) == []  # nothing is copied
    assert tables.read(tables.Truth, "data/raw/truth.parquet").empty
    assert report == {"source": "clips", "videos": 2, "set_aside": []}


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


def test_no_usable_video_names_what_was_looked_for_and_what_was_wrong(ingested, workspace: Path) -> None:
    (workspace / "clips").mkdir()
    with pytest.raises(CionError, match=r"clips: no usable video .*\.mp4"):
        ingested("clips")
    (workspace / "clips" / "a.mp4").touch()
    with pytest.raises(CionError, match=r"a\.mp4: empty file"):
        ingested("clips")


def test_what_the_listing_could_not_read_is_set_aside_with_its_reason(ingested, workspace: Path, film) -> None:
    film(workspace / "clips" / "good.mp4", frames=3)
    (workspace / "clips" / "gone.mp4").symlink_to("nowhere.mp4")
    ingested("clips")
    names, report = written()
    assert names == ["good.mp4"]
    assert report["set_aside"] == [{"video": "gone.mp4", "reason": "cannot be read: No such file or directory"}]


def test_a_clip_that_vanished_after_it_was_listed_is_set_aside(workspace: Path, film) -> None:
    film(workspace / "clips" / "good.mp4", frames=3)
    gone = film(workspace / "clips" / "gone.mp4", frames=3)
    work.write_json("data/listing/videos.json", listing.videos("clips"))
    gone.unlink()
    stage.run(Ingest(source="clips"))
    assert written()[1]["set_aside"] == [{"video": "gone.mp4", "reason": "cannot be read: No such file or directory"}]


def test_nothing_is_hashed_twice(workspace: Path, film, monkeypatch: pytest.MonkeyPatch) -> None:
    film(workspace / "clips" / "a.mp4", frames=3)
    work.write_json("data/listing/videos.json", listing.videos("clips"))
    monkeypatch.setattr(work, "sha256", lambda path: pytest.fail(f"{path} is hashed again"))
    stage.run(Ingest(source="clips"))
    assert written()[0] == ["a.mp4"]


def test_without_a_listing_or_with_another_sources(workspace: Path) -> None:
    with pytest.raises(CionError, match=r"videos\.json: no such file; `cion list` writes it"):
        stage.run(Ingest(source="clips"))
    work.write_json("data/listing/videos.json", {"source": "elsewhere", "files": []})
    with pytest.raises(CionError, match=r"of elsewhere, and ingest\.source is clips; run `cion list` again"):
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
