"""Real clips of one's own, through `dvc repro` to identities."""

from __future__ import annotations

import json
from pathlib import Path

from miniature import Project

from cion_core import tables


def test_ones_own_clips_go_through_to_identities(clips: Path, tmp_path: Path) -> None:
    """Two real clips with HOG, at two looks a second, beside a dead link and a torn file."""
    project = Project(Path(__file__).parents[2], tmp_path / "own")
    names = ("vtest.avi", "one-by-one-person-detection.mp4")
    source = project.folder.parent / "footage"
    source.mkdir()
    for name in names:
        (source / name).symlink_to(clips / name)
    (source / "gone.mp4").symlink_to(source / "nowhere.mp4")
    (source / "torn.avi").write_bytes((clips / names[0]).read_bytes()[:1000])
    project.change(
        "params.yaml",
        {"ingest": {"source": str(source)}, "extract": {"detector": "hog", "rate": 2}},
    )
    project.run("dvc", "repro", "denoise@cross_video")
    data = project.folder / "data"
    videos = tables.read(tables.Videos, data / "raw/videos.parquet").set_index("video")
    assert set(videos.index) == set(names)
    aside = json.loads((data / "raw/ingest.json").read_text())["set_aside"]
    assert {row["video"]: "No such file" in row["reason"] for row in aside} == {
        "gone.mp4": True,
        "torn.avi": False,
    }
    assert not list((data / "raw/videos").iterdir()), "a user's clips are not copied"
    crops = tables.read(tables.Crops, data / "tracklets/crops.parquet")
    assert (crops.x2 <= crops.video.map(videos.width)).all() and (
        crops.y2 <= crops.video.map(videos.height)
    ).all()
    assert crops.tracklet.nunique() >= 5
    identities = tables.read(
        tables.Identities, data / "denoise/cross_video/identities.parquet"
    ).merge(crops, on="crop")
    together = identities.groupby(["video", "frame", "identity"]).tracklet.nunique()
    assert together.max() == 1, "nobody is in two places of one frame"
    again = project.run("dvc", "repro", "denoise@cross_video")
    assert [line for line in again.splitlines() if line.startswith("Running stage")] == [
        "Running stage 'list':"
    ]
    (source / "torn.avi").unlink()
    project.run("cion", "list")
    assert project.stale() >= {"ingest"}, "a change in the folder is noticed"
