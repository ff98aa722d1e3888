"""Video files decoded with FFmpeg (PyAV): the wanted frames, each with its number."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from cion_core.ingest import looks
from cion_core.ingest.container import Index, open_video, read_packets
from cion_core.ingest.problems import NO_FRAME, BadVideo

REORDERED = 64  # frames that a decoder holds back at most


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
            index: of the file, from `container.read_index`.
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
            packets = read_packets(container, stream)
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
        index: of the file, from `container.read_index`.

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
