"""Which files of a folder are footage."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from films import record

from cion_core.ingest import footage


def write(path: Path, content: bytes = b"some text\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["b.MP4", "c.mkv", "d.dav", "e.h264"])
def test_what_is_named_as_a_video_is_listed_whatever_it_holds(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "camera" / name)
    assert footage.find(tmp_path) == footage.Footage([path], [], {})


def test_hidden_files_are_not_counted(tmp_path: Path) -> None:
    write(tmp_path / "camera" / "._c.mkv")
    assert footage.find(tmp_path) == footage.Footage([], [], {})


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "h264", "flv"])
@pytest.mark.parametrize("name", ["no_extension", "a.bin"])
def test_a_video_of_any_name_is_listed(name: str, container: str, tmp_path: Path) -> None:
    path = record(tmp_path / name, range(0, 500, 100), container=container)
    assert footage.find(tmp_path).clips == [path]


def test_what_is_no_video_is_passed_over_and_counted(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"picture{number * 100}.bmp"), np.zeros((9, 9, 3), np.uint8))
    write(tmp_path / "notes.TXT", "é".encode() * 2000)
    write(tmp_path / "deep" / "notes.txt")
    write(tmp_path / "README")
    write(tmp_path / "archive.zip", b"PK\x03\x04" + bytes(99))
    write(tmp_path / "sound.wav", b"RIFF\0\0\0\0WAVE" + bytes(99))
    found = footage.find(tmp_path)
    assert found.clips == []
    assert found.passed_over == {".bmp": 3, ".txt": 2, ".wav": 1, ".zip": 1, "no extension": 1}
    words = footage.in_words(found.passed_over)
    assert words == "8 files passed over: .bmp 3, .txt 2, .wav 1, .zip 1, no extension 1"


def test_what_cannot_be_read_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    (tmp_path / "lost").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    assert footage.find(tmp_path).clips == [tmp_path / "lost", tmp_path / "pipe"]
