"""Probing and decoding."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cion_core.ingest import video


def test_a_probe_tells_rate_frames_and_size(tmp_path: Path, film) -> None:
    assert video.probe(film(tmp_path / "a.mp4", frames=7)) == video.Probe(10.0, 7, 240, 160)


@pytest.mark.parametrize(
    "content", [b"", b"this is no video", b"\x00\x00\x00\x18ftypmp42" + bytes(500)]
)
def test_a_file_that_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(video.BadVideo, match="0 bytes" if not content else "open"):
        video.probe(path)


def test_a_video_without_frames_is_refused(tmp_path: Path, film) -> None:
    with pytest.raises(video.BadVideo):
        video.probe(film(tmp_path / "a.avi", frames=0))


def test_a_truncated_mp4_is_named(tmp_path: Path, film) -> None:
    path = film(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:2000])  # its index lies at the end
    with pytest.raises(video.BadVideo, match="truncated"):
        video.probe(path)


@pytest.mark.parametrize(
    ("rate", "indices"),
    [
        (10, [0, 1, 2, 3, 4, 5, 6, 7]),
        (100, [0, 1, 2, 3, 4, 5, 6, 7]),
        (5, [0, 2, 4, 6]),
        (4, [0, 3, 5]),
        (1, [0]),
    ],
)
def test_frames_are_sampled_by_the_clock(
    tmp_path: Path, film, rate: float, indices: list[int]
) -> None:
    frames = video.Frames(film(tmp_path / "a.mp4", frames=8), 10, rate)
    seen = [(index, time, frame.shape) for index, time, frame in frames]
    assert seen == [(i, i / 10, (160, 240, 3)) for i in indices]
    assert frames.decoded == 8


@given(
    st.integers(0, 10**6),
    st.sampled_from([1, 3, 5, 10, 12.5, 29.97]),
    st.sampled_from([23.976, 25, 29.97, 30]),
)
def test_slots_hold_at_most_one_sampling_period(index: int, rate: float, fps: float) -> None:
    slots = [video.slot(i / fps, rate) for i in (index, index + math.ceil(fps / rate))]
    assert slots[1] > slots[0]
    assert video.slot(index / rate, rate) == index  # exactly at a border: the slot that begins
