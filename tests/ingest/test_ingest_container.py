"""Video files of all kinds, made here: which frames come, and when."""

from __future__ import annotations

import math
import os
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from films import number_on, numbered_image, record

from cion_core.ingest import video

EVERY_TENTH = range(0, 4000, 100)  # milliseconds: 40 frames


def seen(
    path: Path, rate: float = math.inf
) -> tuple[list[int], list[float], list[int], video.Frames]:
    """The indices and times of a video's frames, the numbers on their images, and the reader."""
    frames = video.Frames(path, video.probe(path).fps, rate)
    indices, times, numbers = [], [], []
    for index, time, image in frames:
        indices.append(index)
        times.append(time)
        numbers.append(number_on(image))
    return indices, times, numbers, frames


FILES = {  # the codec, and its options
    "a.mp4": ("libx264", {"g": 12, "bf": 2}),
    "a.mkv": ("libx264", {"g": 12, "bf": 3}),
    "a.flv": ("libx264", {"g": 12}),
    "a.ts": ("libx264", {"g": 12}),
    "a.mov": ("mjpeg", {}),
    "a.webm": ("libvpx-vp9", {"g": 12, "deadline": "realtime", "cpu-used": 8}),
    "a.avi": ("mpeg4", {"g": 12}),
    "b_frames.avi": ("mpeg4", {"g": 12, "bf": 2}),
    "h264.avi": ("libx264", {"g": 12, "bf": 2}),
    "hevc.mp4": ("libx265", {"g": 12, "preset": "ultrafast", "x265-params": "log-level=none"}),
    "no_extension": ("libx264", {}),
}


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a film of 40 frames, ten a second, in each of FILES."""
    folder = tmp_path_factory.mktemp("films")
    for name, (codec, options) in FILES.items():
        container = "mp4" if name == "no_extension" else None
        record(folder / name, EVERY_TENTH, codec, container=container, **options)
    return folder


@pytest.mark.parametrize("name", FILES)
def test_every_frame_comes_in_order_at_its_time(files: Path, name: str) -> None:
    probe = video.probe(files / name)
    assert (probe.fps, probe.frames, probe.width, probe.height, probe.replaced) == (
        10,
        40,
        192,
        48,
        "",
    )
    indices, times, numbers, frames = seen(files / name)
    assert indices == numbers == list(range(40))
    np.testing.assert_allclose(times, np.arange(40) / 10, atol=1e-3)
    assert (frames.passed, frames.decoded, frames.lost, frames.damaged) == (40, 40, 0, 0)


@pytest.mark.parametrize("rate", [0.3, 1, 3, 7])
@pytest.mark.parametrize("name", FILES)
def test_what_is_skipped_changes_nothing_of_what_is_looked_at(
    files: Path, name: str, rate: float
) -> None:
    everything = video.Frames(files / name, 10, math.inf)
    some = video.Frames(files / name, 10, rate)
    whole = {index: (time, image) for index, time, image in everything}
    looks = list(some)
    assert 2 <= len(looks) <= math.ceil(4 * rate) + 1 < 40
    for index, time, image in looks:
        assert time == whole[index][0]
        np.testing.assert_array_equal(image, whole[index][1])
    assert (some.passed, some.decoded, some.lost) == (40, 40, 0)


@pytest.mark.parametrize("name", ["a.h264", "a.m2v", "a.mpg", "a.mxf", "raw"])
def test_files_that_no_list_of_extensions_holds(tmp_path: Path, name: str) -> None:
    codec, container = ("libx264", "h264") if name in ("a.h264", "raw") else ("mpeg2video", None)
    path = record(tmp_path / name, range(0, 1600, 40), codec, rate=25, container=container, bf=2)
    indices, times, numbers, _ = seen(path)
    assert indices == numbers == list(range(40))
    np.testing.assert_allclose(times, np.arange(40) / 25, atol=1e-3)


def test_a_stream_without_timestamps_says_so(tmp_path: Path) -> None:
    path = record(tmp_path / "a.h264", range(0, 1600, 40), rate=25, container="h264")
    assert video.probe(path).replaced.startswith(
        "there are no timestamps: 25 frames a second are taken"
    )


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_variable_frame_rate_and_a_gap_are_as_the_container_says(
    tmp_path: Path, name: str
) -> None:
    uneven = np.cumsum([0, *np.random.default_rng(0).integers(20, 90, 40)])
    milliseconds = [*uneven, *(uneven + 62_000)]
    path = record(tmp_path / name, milliseconds, rate=25)
    indices, times, numbers, _ = seen(path)
    assert indices == numbers == list(range(82))
    np.testing.assert_allclose(times, np.array(milliseconds) / 1000, atol=1e-3)
    assert video.probe(path).replaced == ""
    assert 1000 / 90 < video.probe(path).fps < 1000 / 20


def test_480_frames_a_second_stay_480(tmp_path: Path) -> None:
    milliseconds = [round(number * 1000 / 480) for number in range(240)]
    path = record(tmp_path / "a.mkv", milliseconds, rate=480)
    assert video.probe(path).fps == pytest.approx(480, rel=0.05)
    assert len(seen(path, rate=10)[0]) == 5


def test_looks_follow_the_clock_and_not_the_count(tmp_path: Path) -> None:
    slow_then_fast = [*range(0, 4000, 500), *range(4000, 6000, 20)]
    path = record(tmp_path / "a.mp4", slow_then_fast, rate=50)
    _, times, _, _ = seen(path, rate=4)
    np.testing.assert_allclose(times, [*np.arange(0, 4, 0.5), *np.arange(4, 6, 0.25)], atol=0.021)


def test_an_edit_list_hides_what_it_hides(tmp_path: Path) -> None:
    """A film's second half cut as phones do: the key frame before the cut stays, unseen."""
    whole, cut = record(tmp_path / "whole.mp4", EVERY_TENTH, g=20, bf=0), tmp_path / "cut.mp4"
    with (
        av.open(whole) as source,
        av.open(cut, "w", options={"avoid_negative_ts": "disabled"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        shift = int(2.5 / source.streams.video[0].time_base)
        for packet in source.demux(source.streams.video[0]):
            if packet.size and packet.pts * packet.time_base >= 2:
                packet.pts, packet.dts, packet.stream = (
                    packet.pts - shift,
                    packet.dts - shift,
                    stream,
                )
                target.mux(packet)
    with av.open(cut) as file:
        assert any(packet.is_discard for packet in file.demux(video=0)), "the film has an edit list"
    indices, times, numbers, frames = seen(cut)
    assert numbers == list(range(25, 40)) and indices == list(range(15))
    np.testing.assert_allclose(times, np.arange(15) / 10, atol=1e-3)
    assert frames.lost == 0 and video.probe(cut).frames == 15


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_phones_rotation_is_applied(tmp_path: Path, rotation: int) -> None:
    path = record(tmp_path / "a.mp4", range(0, 500, 100), rotation=rotation)
    probe = video.probe(path)
    assert (probe.width, probe.height) == ((192, 48) if rotation % 180 == 0 else (48, 192))
    _, _, image = next(iter(video.Frames(path, 10, 10)))
    np.testing.assert_allclose(image, np.rot90(numbered_image(0), rotation // 90), atol=12)
    expected = cv2.VideoCapture(str(path)).read()[1]
    np.testing.assert_array_equal(image, expected)


def flipped(path: Path, first: float, last: float, bits: int = 60, seed: int = 0) -> Path:
    """The file with some bits flipped between two places (shares of its length)."""
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(int(first * len(data)), int(last * len(data)), bits):
        data[place] ^= 1 << rng.integers(0, 8)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_behind_damaged_places_it_goes_on_and_tells_what_is_lost(tmp_path: Path, name: str) -> None:
    codec = "mjpeg" if name == "a.avi" else "libx264"
    options = {"movflags": "faststart"} if name == "a.mp4" else {}
    path = flipped(
        record(tmp_path / name, range(0, 20_000, 100), codec, options=options, noise=True, g=10),
        0.3,
        0.5,
    )
    indices, times, numbers, frames = seen(path)
    assert all(a < b for a, b in pairwise(indices))
    assert all(a < b for a, b in pairwise(times))
    assert indices[:20] == numbers[:20] == list(range(20))
    assert numbers[-50:] == list(range(150, 200))
    assert indices[-50:] == list(range(indices[-50], indices[-50] + 50))
    np.testing.assert_allclose(times[-50:], np.arange(150, 200) / 10, atol=1e-3)
    assert frames.lost + frames.damaged > 0
    assert frames.passed == frames.decoded + frames.lost == pytest.approx(200, abs=2)


def test_a_hole_in_a_file_is_a_gap_in_time(tmp_path: Path) -> None:
    path = record(tmp_path / "a.mkv", range(0, 20_000, 100), noise=True, g=10)
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 10 : len(data) // 2] = bytes(len(data) // 2 - len(data) * 3 // 10)
    path.write_bytes(data)
    _, times, numbers, _ = seen(path)
    assert numbers[-1] == 199 and times[-1] == pytest.approx(19.9, abs=1e-3)
    assert 1 < max(np.diff(times)) < 10


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.avi", "mjpeg", {}),
        ("a.mkv", "libx264", {}),
        ("a.mp4", "libx264", {"movflags": "faststart"}),
    ],
)
def test_of_a_truncated_file_the_beginning_is_used_and_the_rest_counted(
    tmp_path: Path, name: str, codec: str, options: dict
) -> None:
    path = record(tmp_path / name, range(0, 20_000, 100), codec, options=options, noise=True, g=20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    probe = video.probe(path)
    assert probe.frames == pytest.approx(200, abs=1)
    indices, _, numbers, frames = seen(path)
    assert indices[:-4] == numbers[:-4]  # of the last, some are missing between others
    assert 50 < len(indices) < 150
    assert frames.lost == probe.frames - len(indices)
    assert frames.passed == probe.frames


def test_recordings_that_were_put_one_behind_the_other_are_one(tmp_path: Path) -> None:
    once = record(tmp_path / "once.ts", range(0, 5000, 40), rate=25)
    path = tmp_path / "twice.ts"
    path.write_bytes(once.read_bytes() * 2)
    indices, times, numbers, _ = seen(path)
    assert indices == list(range(250)) and numbers == 2 * list(range(125))
    np.testing.assert_allclose(times, np.arange(250) / 25, atol=1e-3)
    assert "the clock jumps back" in video.probe(path).replaced


@pytest.mark.parametrize("folder", ["clips:1", "http:", "a#b?c", "日本" * 20, "concat:x|y"])
def test_a_path_is_a_path_whatever_is_in_it(workspace: Path, folder: str) -> None:
    record(workspace / folder / "a%02d.mp4", range(0, 500, 100))
    assert video.probe(Path(folder, "a%02d.mp4")).frames == 5
    assert len(list(video.Frames(Path(folder, "a%02d.mp4"), 10, 10))) == 5


def test_a_name_that_is_not_utf_8_can_be_opened(tmp_path: Path) -> None:
    path = record(tmp_path / "a.mp4", range(0, 500, 100))
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/cam\xe9ra.mp4"))
    try:
        path.rename(odd)
    except OSError:
        pytest.skip("this file system takes no such name")
    assert video.probe(odd).frames == 5


def test_the_systems_reason_comes_before_the_decoders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lost.mp4").symlink_to("nowhere")
    for name in ("gone.mp4", "lost.mp4"):
        with pytest.raises(video.BadVideo, match=r"^cannot be read: No such file or directory$"):
            video.probe(tmp_path / name)
        with pytest.raises(video.BadVideo, match=r"^cannot be read: No such file or directory$"):
            next(iter(video.Frames(tmp_path / name, 10, 10)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_clip_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    path = record(tmp_path / "a.mp4", range(0, 500, 100))
    path.chmod(0)
    with pytest.raises(video.BadVideo, match=r"^cannot be read: Permission denied$"):
        video.probe(path)


@pytest.mark.parametrize(
    "name", ["a.png", "a.jpg", "a.bmp", "a.txt", "a.srt", "a.wav", "list.m3u8"]
)
def test_what_holds_no_video_is_none(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix in (".png", ".jpg", ".bmp"):
        cv2.imwrite(str(path), numbered_image(1))
    elif path.suffix == ".wav":
        with av.open(path, "w") as file:
            stream = file.add_stream("pcm_s16le", rate=8000)
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
            sound.rate = 8000
            file.mux(stream.encode(sound))
    else:
        record(tmp_path / "b.mp4", range(0, 500, 100))
        texts = {".txt": "some text\n" * 99, ".srt": "1\n00:00:00,000 --> 00:00:01,000\nHello\n"}
        path.write_text(
            texts.get(
                path.suffix, "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nb.mp4\n#EXT-X-ENDLIST\n"
            )
        )
    with pytest.raises(video.NoVideo):
        video.probe(path)
