"""One detector for many videos that are decoded at once.

This is for detectors that need the GPU, or all cores, for themselves (`Detector.shared`)::

    decoders, a process each          this process              the detector's process
    BorrowedDetector.detect_many ──→  SharedDetector, a thread  ──→ Detector.detect_many
             frames lie in shared memory; only where, and what was found, is sent

Requests are answered one after another, and each is a batch of one video. So what is found does not
depend on which videos are decoded at the same time; and if the detector's process dies, it is known
of which video it died.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from pathlib import Path

import numpy as np
import psutil
import supervision as sv

from cion_core import crew
from cion_core.errors import CionError
from cion_core.extract.detectors import DETECTORS
from cion_core.extract.detectors.base import Detector, detections
from cion_core.extract.settings import Extract
from cion_core.ingest.video import Probe

SIGN_OF_LIFE = 1.0  # seconds between two signs of life of who waits for the detector


class DetectorFailed(crew.PlainFailure):
    """The detector raised an error, or its process died, on the frames that it was given."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the detector failed on its frames ({reason})")


@dataclass(frozen=True)
class Request:
    """Frames to detect in.

    Attributes:
        memory: path of the shared memory, in which they lie one after another.
        shapes: (H, W, 3) of each.
        indices: the number of each in its video.
    """

    memory: str
    shapes: list[tuple[int, ...]]
    indices: list[int]


@dataclass(frozen=True)
class Answer:
    """What was found, or why nothing could be.

    Attributes:
        found: of each frame the boxes, float32 [n, 4], and confidences, float32 [n]; None: the
            detector failed.
        failure: the reason, if it did.
        ends_all: it is no fault of the video, so the other videos would fail as well.
    """

    found: list[tuple[np.ndarray, np.ndarray]] | None = None
    failure: str = ""
    ends_all: bool = False


class SharedDetector:
    """The detector in a process of its own, and the threads that pass requests on to it.

    Use as a context manager; `address` is where `BorrowedDetector` reaches it.
    """

    def __init__(self, section: Extract, silence: float, memory: int | None) -> None:
        """Make the detector.

        Args:
            section: the section `extract`.
            silence: seconds that one batch may take.
            memory: bytes that its process may take beyond what the detector takes at rest; None:
                80 % of this machine's memory.

        Raises:
            CionError: it cannot be made.
        """
        self._orders = crew.Orders(_detect, partial(make_detector, section), silence)
        self._memory = memory or int(crew.SHARE_OF_MEMORY * psutil.virtual_memory().total)
        self._one_at_a_time = threading.Lock()
        self._is_closed = False
        self._worker = crew.Worker(self._orders)
        answer = self._answer(None)
        if answer.found is None:
            self._worker.kill()
            raise CionError(answer.failure)
        self._listener = connection.Listener(authkey=_key())
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Where a `BorrowedDetector` reaches it."""
        return self._listener.address

    def __enter__(self) -> SharedDetector:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed = True
        self._listener.close()
        self._worker.kill()

    def _accept(self) -> None:
        """Give each decoder that calls a thread of its own."""
        while True:
            try:
                decoder = self._listener.accept()
            except (OSError, EOFError, multiprocessing.AuthenticationError):
                if self._is_closed:
                    return
                continue  # whoever called has died meanwhile
            threading.Thread(target=self._serve, args=(decoder,), daemon=True).start()

    def _serve(self, decoder: connection.Connection) -> None:
        """Answer one decoder until it ends."""
        with decoder, suppress(EOFError, OSError):
            while True:
                request = decoder.recv()
                with self._one_at_a_time:
                    answer = self._answer(request)
                decoder.send(answer)

    def _answer(self, request: Request | None) -> Answer:
        """Let the detector's process, or a new one if it has died, answer a request."""
        if self._is_closed:
            return Answer(failure="the stage ends")
        if self._worker.ended:
            self._worker = crew.Worker(self._orders)
        attempts = crew.Attempts(request)
        try:
            outcome = self._worker.finish(attempts, self._memory)
        except CionError as error:
            return Answer(failure=str(error), ends_all=True)
        if outcome.failure is not None:
            return Answer(failure=attempts.reasons[-1])
        return Answer(found=outcome.result)


class BorrowedDetector:
    """What a decoder's process has in place of a detector: it sends its frames to the shared one.

    Attributes:
        report: called with 0, as a sign of life, while the detector is at work for others.
    """

    def __init__(self, address: str) -> None:
        self.report: Callable[[int], None] = lambda amount: None
        self._shared = connection.Client(address, authkey=_key())
        self._memory = SharedMemory()

    def begin(self, path: Path, probe: Probe) -> None:
        """Do nothing: a shared detector judges each frame by itself (`Detector.begin`)."""

    def detect_many(
        self, frames: Sequence[np.ndarray], indices: Sequence[int]
    ) -> list[sv.Detections]:
        """See `Detector.detect_many`.

        Raises:
            DetectorFailed: the detector failed on these frames.
            CionError: it has died, and cannot be made anew.
        """
        self._memory.write(frames)
        self._shared.send(
            Request(self._memory.path, [frame.shape for frame in frames], list(indices))
        )
        while not self._shared.poll(SIGN_OF_LIFE):
            self.report(0)
        answer = self._shared.recv()
        if answer.ends_all:
            raise CionError(answer.failure)
        if answer.found is None:
            raise DetectorFailed(answer.failure)
        return [detections(boxes, confidence) for boxes, confidence in answer.found]


class SharedMemory:
    """Memory of this process that others open by a path.

    It is gone when this process is, however it ends. It is no file in /dev/shm, of which containers
    have little.

    Attributes:
        path: where others open it, as long as this process lives.
    """

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self._file = os.fdopen(os.memfd_create("frames"), "r+b", buffering=0)
            self.path = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"
        else:
            self._file = tempfile.NamedTemporaryFile()  # noqa: SIM115 - as long as this process
            self.path = self._file.name
        self._size = 0

    def write(self, frames: Sequence[np.ndarray]) -> None:
        """Put frames there, one after another.

        Args:
            frames: uint8 [H, W, 3] each; they may differ in size.
        """
        size = sum(frame.nbytes for frame in frames)
        if size > self._size:
            self._file.truncate(size)
            self._size = size
        with mmap.mmap(self._file.fileno(), self._size) as memory:
            at = 0
            for frame in frames:
                memory[at : at + frame.nbytes] = np.ascontiguousarray(frame).data.cast("B")
                at += frame.nbytes


def make_detector(section: Extract) -> Detector:
    """Make the detector that the settings name.

    Args:
        section: the section `extract`.

    Raises:
        CionError: it cannot be made.
    """
    return DETECTORS.named(section.detector)(section)


def _detect(
    request: Request | None, detector: Detector, report: crew.Report
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Answer a request, in the detector's process.

    Args:
        request: None asks for nothing but a detector that is there.
        detector: that of this process.
        report: not called: a batch is short.

    Returns:
        The boxes and confidences of each frame.
    """
    if request is None:
        return []
    sizes = [int(np.prod(shape)) for shape in request.shapes]
    with open(request.memory, "r+b") as file:
        # It is closed when nothing holds the frames any more: some detectors keep the last ones.
        memory = mmap.mmap(file.fileno(), sum(sizes), access=mmap.ACCESS_COPY)
    ends = np.cumsum(sizes)
    frames = [
        np.frombuffer(memory, np.uint8, size, end - size).reshape(shape)
        for shape, size, end in zip(request.shapes, sizes, ends.tolist(), strict=True)
    ]
    found = detector.detect_many(frames, request.indices)
    return [(one.xyxy, one.confidence) for one in found]


def _key() -> bytes:
    """What processes of one stage know each other by."""
    return bytes(multiprocessing.current_process().authkey)
