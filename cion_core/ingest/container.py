"""Video files, opened and decoded with FFmpeg (PyAV).

A file is gone through twice: first its packets alone, which is fast and gives the clock of the
whole video; then the decoder is given the packets that the wanted frames need.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from cion_core.ingest import looks
from cion_core.ingest.clock import Timeline, make_timeline
from cion_core.ingest.problems import NO_FRAME, BadVideo, NoVideo

# What FFmpeg opens, too: pictures (also all formats called *_pipe), text, and lists of other files.
NO_VIDEOS = ("image2", "gif", "apng", "ico", "tty", "hls", "dash", "concat", "imf")
COVER = av.stream.Disposition.attached_pic  # of a piece of music
ERRORS_IN_A_ROW = 50  # a file that gives so many and no packet between them has ended
SIGN_OF_LIFE = 1000  # packets
REORDERED = 64  # frames that a decoder holds back at most

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
        for packet in _read_packets(container, stream):
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


def _read_packets(
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


class Decoder:
    """Decodes the wanted frames of a file, in the order in which they are shown.

    Attributes:
        passed: frames that have gone by so far, decoded or not.
        lost: of these, those that should have come and did not.
        damaged: those that came, and in which the decoder has filled in what it could not read.
    """

    def __init__(self, path: Path, index: Index, wanted: np.ndarray, threads: int) -> None:
        """Nothing is opened yet.

        Args:
            path: the file.
            index: of the file, from `read_index`.
            wanted: which frames are; bool [frames].
            threads: how many decode it together.
        """
        self.path, self.index, self.wanted, self.threads = path, index, wanted, threads
        self.passed = self.lost = self.damaged = 0
        # The numbers of the frames that are shown at a timestamp, rising.
        self._numbers_at: dict[int, list[int]] = defaultdict(list)
        for stamp, number in zip(index.stamps, index.frame_of_packet.tolist(), strict=True):
            if stamp is not None and number >= 0:
                self._numbers_at[stamp].append(number)
        for numbers in self._numbers_at.values():
            numbers.sort()
        self._next = 0  # the first frame that has not gone by
        self._gone_by = 0  # packets, sent to the decoder or not

    def __iter__(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield (number, frame) of the wanted frames that can be decoded."""
        actions, expected = self._plan()
        with open_video(self.path) as (container, stream):
            context = stream.codec_context
            context.thread_count = self.threads
            context.thread_type = "AUTO" if self.threads > 1 else "SLICE"
            is_skipping = False
            packets = _read_packets(container, stream)
            for packet, action in zip(packets, actions.tolist(), strict=False):
                self._gone_by += 1
                if action != looks.SKIP:
                    context.skip_frame = "DEFAULT" if action == looks.WHOLE else "NONREF"
                    yield from self._number_frames(_decode(context, packet), expected)
                elif not is_skipping and not self.index.all_key:
                    yield from self._number_frames(_decode(context, None), expected)
                    context.flush_buffers()  # as for a jump: it begins anew at the next keyframe
                is_skipping = action == looks.SKIP
            yield from self._number_frames(_decode(context, None), expected)
        self._count_lost(self.index.frames, expected)
        self.lost += max(0, self.index.claimed - self.index.frames)
        self.passed = self.index.claimed

    def _plan(self) -> tuple[np.ndarray, np.ndarray]:
        """Decide what to do with each packet, and which frames must come.

        Returns:
            What `looks.plan` says, int8 [packets]; and bool [frames].
        """
        index = self.index
        frame_of_packet = index.frame_of_packet
        if not index.clock.exact:  # frames are counted, so none may be left out
            all_whole = np.full(len(frame_of_packet), looks.WHOLE, np.int8)
            return all_whole, np.ones(index.frames, bool)
        actions = looks.plan(frame_of_packet, index.keyframe, self.wanted, index.all_key)
        comes_out = (actions == looks.WHOLE) & (frame_of_packet >= 0)
        expected = np.zeros(index.frames, bool)
        expected[frame_of_packet[comes_out]] = True
        return actions, expected

    def _number_frames(
        self, frames: Iterator[av.VideoFrame], expected: np.ndarray
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield the wanted ones of `frames`, with their numbers."""
        for frame in frames:
            number = self._number_of(frame.pts)
            if number is None:
                continue
            self._count_lost(number, expected)
            self._next = self.passed = number + 1
            self.damaged += frame.is_corrupt
            if self.wanted[number]:
                yield number, frame

    def _number_of(self, stamp: int | None) -> int | None:
        """Which frame of the video has this timestamp; None where that one has gone by."""
        numbers = self._numbers_at.get(stamp) if self.index.clock.exact else None
        if numbers is None:  # frames are counted
            return self._next if self._next < self.index.frames else None
        place = bisect_left(numbers, self._next)
        # Damage may give a frame the timestamp of one that is far ahead.
        reachable = self._gone_by + REORDERED
        if place < len(numbers) and numbers[place] < reachable:
            return numbers[place]
        return None

    def _count_lost(self, until: int, expected: np.ndarray) -> None:
        """Count the frames before `until` that were expected and have not come."""
        self.lost += int(expected[self._next : until].sum())


def _decode(context: av.VideoCodecContext, packet: av.Packet | None) -> Iterator[av.VideoFrame]:
    """Yield the frames that come out for a packet; none where it is damaged.

    Args:
        context: the decoder.
        packet: what goes in; None: the frames that wait inside come out.
    """
    try:
        yield from context.decode(packet)
    except (av.error.FFmpegError, EOFError):
        return


def first_frame(path: Path, index: Index) -> av.VideoFrame:
    """Decode the first frame that can be decoded.

    Args:
        path: the file.
        index: of the file, from `read_index`.

    Returns:
        The frame.

    Raises:
        BadVideo: there is none.
    """
    everything = np.ones(index.frames, bool)
    for _, frame in Decoder(path, index, everything, threads=1):
        return frame
    raise BadVideo(NO_FRAME)


def to_bgr(frame: av.VideoFrame, size: tuple[int, int] | None = None) -> np.ndarray:
    """Turn a decoded frame into an image, upright as the recorder's metadata say.

    Args:
        frame: the frame.
        size: (width, height) before it is turned, where a stream that changes its size shall keep
            one.

    Returns:
        BGR uint8 [H, W, 3].
    """
    width, height = size or (frame.width, frame.height)
    image = frame.to_ndarray(format="bgr24", width=width, height=height)
    quarter_turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image
