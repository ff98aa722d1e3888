"""Video files, opened with FFmpeg (PyAV), and their packets.

A file is gone through twice: first its packets alone (here), which is fast and gives the clock of
the whole video; then the decoder (`decoder`) is given the packets that the wanted frames need.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from cion_core.ingest.clock import Timeline, make_timeline
from cion_core.ingest.problems import BadVideo, NoVideo

# What FFmpeg opens, too: pictures (also all formats called *_pipe), text, and lists of other files.
NO_VIDEOS = ("image2", "gif", "apng", "ico", "tty", "hls", "dash", "concat", "imf")
COVER = av.stream.Disposition.attached_pic  # of a piece of music
ERRORS_IN_A_ROW = 50  # a file that gives so many and no packet between them has ended
SIGN_OF_LIFE = 1000  # packets

av.logging.set_level(av.logging.PANIC)  # what is wrong with a file is said once, by us


@dataclass(frozen=True)
class Index:
    """What a container says of its frames, without any being decoded.

    Attributes:
        clock: when each frame is shown. Its `frame_of_packet` is of shown packets alone.
        frame_of_packet: which frame each packet of the file holds; -1 where an edit list hides it.
        stamps: each packet's timestamp in the container's own units; None where it has none.
        keyframe: bool [packets].
        claimed: how many frames the container claims to have, which a truncated file does not keep.
        all_key: whether each packet is decoded by itself.
    """

    clock: Timeline
    frame_of_packet: np.ndarray
    stamps: list[int | None]
    keyframe: np.ndarray
    claimed: int
    all_key: bool

    @property
    def frames(self) -> int:
        """How many frames are there."""
        return len(self.clock.times)


@contextmanager
def open_video(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a file.

    Args:
        path: the file.

    Yields:
        Its container and its first video stream.

    Raises:
        BadVideo: the system cannot read the file, it is empty, or damaged.
        NoVideo: the decoder finds no video in it.
    """
    try:
        with open(path, "rb") as file:
            is_empty = not file.read(1)
    except OSError as error:
        raise BadVideo(f"cannot be read: {error.strerror}") from None
    if is_empty:
        raise BadVideo("empty file (0 bytes)")
    # The file's own streams alone: what a list of files in it names is not opened.
    options = {"protocol_whitelist": "file"}
    try:
        # An absolute path, since FFmpeg takes `clips:1/a.mp4` for an address with a protocol.
        container = av.open(os.path.abspath(path), options=options, metadata_errors="ignore")
    except (av.error.FFmpegError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise NoVideo(
            f"the decoder cannot open it (truncated, damaged, or of another format): {why}"
        ) from None
    with container:
        streams = [stream for stream in container.streams.video if not stream.disposition & COVER]
        formats = container.format.name.split(",")
        is_other = any(name in NO_VIDEOS or name.endswith("_pipe") for name in formats)
        if is_other or not streams:
            raise NoVideo("no video stream in it")
        yield container, streams[0]


def read_index(path: Path, report: Callable[[int], None] = lambda amount: None) -> Index:
    """Go through the packets of a file, without decoding any.

    Args:
        path: the file.
        report: is called with 0 again and again, as a sign of life.

    Returns:
        The clock, the keyframes, and how many frames there should be.

    Raises:
        BadVideo: see `open_video`; or there is no frame in it.
    """
    # 1. What each packet says, and what the header does.
    stamps, keyframe, hidden = [], [], []
    with open_video(path) as (container, stream):
        unit = stream.time_base or Fraction(1)
        for packet in read_packets(container, stream):
            stamps.append(packet.pts)
            keyframe.append(packet.is_keyframe)
            hidden.append(packet.is_discard)
            if len(stamps) % SIGN_OF_LIFE == 0:
                report(0)
        if not stamps:
            raise BadVideo("no frame in it")
        # A header's own rate where it has one; of streams without timestamps only the guess goes by
        # the codec's header.
        has_timestamps = any(stamp is not None for stamp in stamps)
        average_rate = stream.average_rate if has_timestamps else None
        declared = float(average_rate or stream.guessed_rate or 0)
        context = stream.codec_context
        # AVI has no times of presentation, and FFmpeg's guess goes by the order of decoding.
        delayed = context.has_b_frames and container.format.name == "avi"
        all_key = context.codec.intra_only
        listed = stream.frames - sum(hidden)
        average = stream.average_rate
        seconds = _tagged_duration(stream)

    # 2. The clock of the frames that are shown.
    shown = ~np.array(hidden)
    clock = make_timeline(_in_seconds(stamps, unit)[shown], declared, delayed)
    frame_of_packet = np.full(len(stamps), -1)
    frame_of_packet[shown] = clock.frame_of_packet

    # 3. How many frames the container claims to have. AVI counts empty frames, too, where frames
    # are rarer than its clock's ticks.
    if average and average > clock.fps:
        listed = round(listed * clock.fps / float(average))
    # Behind the last frame the tag of the duration may have time for more; less than a second of
    # them does not count.
    behind = round((seconds - clock.times[-1]) * clock.fps) - 1
    missing = behind if behind > clock.fps else 0
    claimed = max(listed, len(clock.times) + missing)
    return Index(clock, frame_of_packet, stamps, np.array(keyframe), claimed, all_key)


def _in_seconds(stamps: list[int | None], unit: Fraction) -> np.ndarray:
    """Timestamps as seconds since the lowest, exact for whole numbers; NaN where there is none."""
    first = min((stamp for stamp in stamps if stamp is not None), default=0)
    since = np.array([np.nan if stamp is None else stamp - first for stamp in stamps], np.float64)
    return since * unit.numerator / unit.denominator


def _tagged_duration(stream: av.VideoStream) -> float:
    """The seconds that Matroska's tag says a stream has (00:00:08.000000000); 0 without the tag.

    Such a file lists no frames, so that only this shows that its end is missing.
    """
    try:
        hours, minutes, seconds = stream.metadata.get("DURATION", "").split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return 0.0


def read_packets(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.Packet]:
    """Yield the packets of `stream` that hold anything; a damaged place is passed over."""
    errors = 0
    while errors < ERRORS_IN_A_ROW:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    errors = 0
                    yield packet
            return
        except av.error.FFmpegError:
            errors += 1
