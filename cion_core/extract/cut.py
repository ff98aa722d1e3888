"""One video to the crops of its tracklets: detect, track, choose, cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import supervision as sv

from cion_core.crops import CropWriter
from cion_core.extract.ahead import ahead
from cion_core.extract.album import Album
from cion_core.extract.faces import FaceBlur
from cion_core.extract.selection import select
from cion_core.extract.settings import Extract
from cion_core.extract.shots import Look, ShotFinder
from cion_core.extract.trackers import TRACKERS
from cion_core.extract.trackers.base import Tracker
from cion_core.ingest.problems import NO_FRAME, BadVideo
from cion_core.ingest.video import Frames, Probe

BATCH = 16  # looks that are detected in together
BATCH_BYTES = 128 * 2**20  # and bytes of theirs at most, of which four batches are held at once
# A video that yields a smaller fraction of the frames that it claims is called truncated.
COMPLETE = 0.95


class FindsPeople(Protocol):
    """A `Detector`, or the `BorrowedDetector` that stands in for one in a decoder's process."""

    def begin(self, path: Path, probe: Probe) -> None:
        """See `Detector.begin`; of a borrowed detector it does nothing."""

    def detect_many(
        self, frames: Sequence[np.ndarray], indices: Sequence[int]
    ) -> list[sv.Detections]:
        """See `Detector.detect_many`."""


def cut(
    path: Path,
    probe: Probe,
    detector: FindsPeople,
    p: Extract,
    shard: Path,
    passed: Callable[[int], None],
    threads: int = 1,
) -> tuple[pd.DataFrame, dict]:
    """Write the crops of a video's people into a tar.

    Crops are taken at the same instants for all people, so that tracklets that co-occur share
    frames in the table: of each 1/crop_rate seconds of the video's clock the first look in which a
    tracklet is seen. With crop_rate 3 somebody seen at 0.0, 0.1, 0.2, 0.5 and 0.7 s has crops of
    0.0, 0.5 and 0.7 s.

    Args:
        path: The video's file or folder.
        probe: Its rate, frames and size.
        detector: Finds people.
        p: The section `extract`.
        shard: The tar to write.
        passed: Told how many frames have gone by, from several threads, and 0 as a sign of life.
        threads: So many decode.

    Returns:
        The crops (tables.Crops without video and shard, ordered by tracklet and time; crop and
        tracklet count from 0 within this video), and counts for the report.

    Raises:
        BadVideo: Nothing can be decoded, or no tracklet is long enough; no shard is left.
    """
    # 1. Each look with its shot, in batches.
    finder = ShotFinder()
    frames = Frames(path, probe.fps, p.rate, threads, passed)
    batches = batched(finder.number(Look(*frame) for frame in frames))

    # 2. Detect, track, and cut out crops.
    detector.begin(path, probe)
    tracklets = Tracklets(lambda: TRACKERS.named(p.tracker)(p, min(p.rate, probe.fps)))
    faces = FaceBlur(threads) if p.blur_faces else None
    looks = seen = too_small = reported = 0
    with CropWriter(shard) as writer:
        album = Album(writer, p.crop_rate, p.min_crops, p.min_change, faces)
        # Three threads: one decodes and finds cuts, one detects, and this one tracks and writes.
        for batch, detections in ahead(detected(ahead(batches), detector)):
            for look, people in zip(batch, detections, strict=True):
                confident = people[people.confidence >= p.confidence]
                found = usable(people, look.image.shape, p.confidence, p.min_height)
                too_small += len(confident) - len(found)
                for tracklet, box, confidence in tracklets.follow(found, look):
                    album.offer(look, tracklet, box, confidence, found.xyxy)
                looks, seen = looks + 1, seen + len(found)
                passed(frames.passed - reported)
                reported = frames.passed
        if not looks:
            raise BadVideo(NO_FRAME)
        if not album.rows:
            raise BadVideo(_nobody(looks, seen, album, p))

    # 3. Now that all crops are known, judge each.
    crops, kept_out = select(album.table(), p.min_quality, p.min_crops)
    crops["crop"] = np.arange(len(crops))
    return crops, {
        "frames": frames.decoded,
        "frames_claimed": probe.frames,
        "frames_lost": frames.lost,
        "frames_damaged": frames.damaged,
        "truncated": frames.decoded < COMPLETE * probe.frames,
        "frames_looked_at": looks,
        "shots": finder.shots,
        "detections": seen,
        "detections_too_small": too_small,
        **({"faces_blurred": faces.found} if faces else {}),
        "tracklets": int(crops.tracklet.nunique()),
        "short_tracklets": len(album.waiting),
        "crops": len(crops),
        "kept_out": kept_out,
    }


def batched(looks: Iterable[Look]) -> Iterator[list[Look]]:
    """Put looks together in batches of BATCH, or less where they are large.

    How large a batch is depends on the size of a look alone, so that the same video is always
    detected in the same batches. The last one may be smaller.

    Args:
        looks: Of one video, in their order.
    """
    batch: list[Look] = []
    for look in looks:
        batch.append(look)
        if len(batch) == min(BATCH, max(1, BATCH_BYTES // look.image.nbytes)):
            yield batch
            batch = []
    if batch:
        yield batch


def detected(
    batches: Iterable[list[Look]], detector: FindsPeople
) -> Iterator[tuple[list[Look], list[sv.Detections]]]:
    """Detect people in batches of looks.

    Args:
        batches: As `batched` makes them.
        detector: Has begun with their video.

    Returns:
        Each batch, with what was found in each of its looks.
    """
    for batch in batches:
        yield (
            batch,
            detector.detect_many([look.image for look in batch], [look.index for look in batch]),
        )


class Tracklets:
    """Numbers the tracklets of one video.

    Each shot has a fresh tracker, so no tracklet goes on through a cut.

    Args:
        begin_tracker: Makes the tracker of a shot.
    """

    def __init__(self, begin_tracker: Callable[[], Tracker]) -> None:
        self._begin_tracker = begin_tracker
        self._shot = -1
        self._numbers: dict[tuple[int, int], int] = {}  # of a shot, and of its tracker's own number

    def follow(self, found: sv.Detections, look: Look) -> list[tuple[int, np.ndarray, float]]:
        """Track people into the next look.

        Args:
            found: Everybody in it.
            look: Later than those before.

        Returns:
            Of each detection that belongs to a tracklet: the tracklet's number in the video, the
            box, float32 [4], and the confidence.
        """
        if look.shot != self._shot:
            self._shot, self._tracker = look.shot, self._begin_tracker()
        tracked = self._tracker.update(found, look.time, look.image)
        sightings = []
        for own_number, box, confidence in zip(
            tracked.tracker_id, tracked.xyxy, tracked.confidence, strict=True
        ):
            number = self._numbers.setdefault((look.shot, int(own_number)), len(self._numbers))
            sightings.append((number, box, float(confidence)))
        return sightings


def usable(
    found: sv.Detections, shape: tuple[int, ...], confidence: float, min_height: int
) -> sv.Detections:
    """The detections that are confident and tall enough, in whole pixels inside the frame.

    Args:
        found: What the detector gave for one frame; its boxes are replaced by rounded ones.
        shape: Of the frame, (H, W, ...).
        confidence: Detections of less are left out.
        min_height: Pixels; lower boxes are left out.
    """
    height, width = shape[:2]
    found.xyxy = np.rint(found.xyxy).clip(0, [width, height, width, height]).astype(np.float32)
    x1, y1, x2, y2 = found.xyxy.T
    return found[(found.confidence >= confidence) & (y2 - y1 >= min_height) & (x2 - x1 >= 2)]


def _nobody(looks: int, seen: int, album: Album, p: Extract) -> str:
    if not seen:
        return f"no people found in {looks} frames looked at"
    return (
        f"no tracklet of at least min_crops = {p.min_crops} crops "
        f"({seen} detections in {looks} frames looked at, {len(album.waiting)} shorter tracklets)"
    )
