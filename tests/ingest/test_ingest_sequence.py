"""Videos that are folders of numbered images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from films import number_on, numbered_image

from cion_core import listing
from cion_core.ingest import footage, sequence, video


def images(folder: Path, numbers: range | list[int], name: str = "{:06d}.png") -> Path:
    """Numbered images in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        cv2.imwrite(str(folder / name.format(number)), numbered_image(number))
    return folder


@pytest.mark.parametrize(
    ("names", "are"),
    [
        ([f"{n:06d}.jpg" for n in range(1, 40)], True),
        ([f"{n}.png" for n in range(1, 40)], True),
        ([f"frame_{n:04d}.jpg" for n in range(0, 400, 10)], True),
        ([f"{n:06d}.jpg" for n in range(1, 40) if n not in (7, 8, 20)], True),
        ([f"{n:06d}.jpg" for n in range(1, 9)], False),
        ([f"IMG_{n}.jpg" for n in (3, 9, 40, 41, 77, 120, 160, 201, 280, 300)], False),
        ([f"{n:06d}.jpg" for n in range(1, 40)] + ["cover.jpg"], False),
        ([f"{n:06d}.jpg" for n in range(1, 20)] + [f"b{n:06d}.jpg" for n in range(20, 40)], False),
        ([f"0002_c1s1_{n:06d}_03.jpg" for n in range(1, 40)], False),
        ([f"{n:02d}.jpg" for n in range(20)] + [f"{n:03d}.jpg" for n in range(20)], False),
    ],
)
def test_numbered_images_are_told_from_a_pile_of_pictures(names: list[str], are: bool) -> None:
    assert sequence.are_numbered(map(Path, names)) == are


def test_a_folder_of_numbered_images_is_one_video(workspace: Path) -> None:
    folder = images(workspace / "clips" / "frames", range(1, 31))
    (workspace / "clips" / "notes.txt").write_text("text")
    listed = listing.list_videos("clips")
    assert [(file["name"], file["fps"]) for file in listed["files"]] == [("frames", None)]
    assert listed["passed_over"] == {".txt": 1}
    assert video.probe(folder, 10.0) == video.Probe(10.0, 30, 192, 48)
    looks = [
        (index, time, number_on(image)) for index, time, image in video.Frames(folder, 10.0, 5)
    ]
    assert looks == [(n, n / 10, n + 1) for n in range(0, 30, 2)]


def test_missing_numbers_are_time_that_passes_and_steps_are_frames(tmp_path: Path) -> None:
    folder = images(tmp_path / "frames", [0, 10, 20, 50, 60])
    looks = [
        (index, time, number_on(image)) for index, time, image in video.Frames(folder, 2.0, 100)
    ]
    assert looks == [(0, 0, 0), (1, 0.5, 10), (2, 1.0, 20), (5, 2.5, 50), (6, 3.0, 60)]


def test_a_sequence_of_the_mot_challenge(workspace: Path) -> None:
    folder = workspace / "clips" / "MOT17-02"
    images(folder / "img1", range(1, 6))
    (folder / "gt").mkdir()
    (folder / "gt" / "gt.txt").write_text("1,1,1,1,1,1,1,1,1\n")
    (folder / "seqinfo.ini").write_text(
        "[Sequence]\nname=MOT17-02\nimDir=img1\nframeRate=30\nseqLength=5\n"
    )
    listed = listing.list_videos("clips")
    assert [(file["name"], file["fps"]) for file in listed["files"]] == [("MOT17-02", 30.0)]
    assert listed["passed_over"] == {}
    assert len(list(video.Frames(folder, 30.0, 100))) == 5
    before = listed["files"][0]["sha256"]
    cv2.imwrite(str(folder / "img1" / "000003.png"), numbered_image(99))
    assert listing.list_videos("clips")["files"][0]["sha256"] != before


def test_the_source_itself_may_be_a_sequence(workspace: Path) -> None:
    images(workspace / "frames", range(20))
    (file,) = listing.list_videos("frames")["files"]
    assert (file["name"], file["at"]) == ("frames", ".")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"no section", "not of the form [Sequence]"),
        (b"[Other]\n", "not of the form [Sequence]"),
        (b"[Sequence]\nframeRate=fast\n", "frameRate fast is no number from 1e-05 to 1000"),
        (b"[Sequence]\nframeRate=0\n", "frameRate 0 is no number"),
        (b"[Sequence]\nframeRate=nan\n", "frameRate nan is no number"),
        (b"[Sequence]\nframeRate=1e308\n", "frameRate 1e308 is no number"),
        (b"[Sequence]\nframeRate=1e-300\n", "frameRate 1e-300 is no number"),
        (b"[Sequence]\nimDir=/etc\n", "imDir /etc is no folder inside this one"),
        (b"[Sequence]\nimDir=../b\n", "imDir ../b is no folder inside this one"),
        (b"\xff\xfe[\0", "not UTF-8 text; save it as UTF-8"),
    ],
)
def test_a_wrong_seqinfo_is_a_reason_and_no_end(workspace: Path, text: bytes, said: str) -> None:
    images(workspace / "clips" / "a" / "img1", range(3))
    (workspace / "clips" / "a" / "seqinfo.ini").write_bytes(text)
    (file,) = listing.list_videos("clips")["files"]
    assert file["reason"].startswith(f"seqinfo.ini: {said}")


def test_broken_images_are_lost_frames(tmp_path: Path) -> None:
    folder = images(tmp_path / "frames", range(20))
    (folder / "000007.png").write_bytes(b"no image")
    frames = video.Frames(folder, 10.0, 10)
    assert [index for index, _, _ in frames] == [n for n in range(20) if n != 7]
    assert (frames.passed, frames.lost, frames.decoded) == (20, 1, 19)


def test_images_that_differ_in_size_are_no_video(tmp_path: Path) -> None:
    folder = images(tmp_path / "frames", range(20))
    cv2.imwrite(str(folder / "000019.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(video.BadVideo, match=r"differ in size \(9x9 and 192x48\)"):
        video.probe(folder, 10.0)


def test_without_a_rate_a_sequence_is_set_aside(tmp_path: Path) -> None:
    folder = images(tmp_path / "frames", range(20))
    assert footage.find(tmp_path).sequences == [folder]
    with pytest.raises(
        video.BadVideo, match=r"set ingest\.sequence_fps, or frameRate in a seqinfo\.ini"
    ):
        video.probe(folder)
