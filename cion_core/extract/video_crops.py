"""One video to the crops of its tracklets: detect, track, choose, write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import supervision as sv

from cion_core.crops import CropWriter
from cion_core.extract.ahead import work_ahead
from cion_core.extract.album import Album
from cion_core.extract.faces import FaceBlur
from cion_core.extract.selection import select
from cion_core.extract.settings import Extract
from cion_core.extract.shots import Look, ShotFinder
from cion_core.extract.trackers import TRACKERS
from cion_core.extract.trackers.base import Tracker
from cion_core.ingest.problems import NO_FRAME, BadVideo
from cion_core.ingest.video import Frames, Probe

BATCH = 16  # looks that the detector is shown together
BATCH_BYTES = 128 * 2**20  # of their images, at most; four batches are held at once
LEAST_WIDTH = 2  # pixels of a box
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


def extract_video(
    path: Path,
    probe: Probe,
    detector: FindsPeople,
    section: Extract,
    shard: Path,
    report: Callable[[int], None],
    threads: int = 1,
) -> tuple[pd.DataFrame, dict]:
    """Write the crops of a video's people into a tar.

    The video's clock is divided into slots of 1/crop_rate seconds, which are the same for all
    people. A tracklet has one crop in each slot, from the first look in which it is seen there. So
    tracklets that co-occur share frames in the table. With crop_rate 3 somebody seen at 0.0, 0.1,
    0.2, 0.5 and 0.7 s has crops of 0.0, 0.5 and 0.7 s.

    Args:
        path: the video's file or folder.
        probe: its rate, frames and size.
        detector: finds people.
        section: the section `extract`.
        shard: the tar to write.
        report: told how many frames have gone by, from several threads, and 0 as a sign of life.
        threads: how many decode this video together.

    Returns:
        The crops (tables.Crops without video and shard, ordered by tracklet and time; crop and
        tracklet count from 0 within this video), and counts for the report.

    Raises:
        BadVideo: nothing can be decoded, or no tracklet is long enough; no shard is left.
    """
    # 1. Each look with its shot, in batches.
    finder = ShotFinder()
    frames = Frames(path, probe.fps, section.rate, threads, report)
    batches = batch_looks(finder.number(Look(*frame) for frame in frames))

    # 2. Detect, track, and write crops.
    detector.begin(path, probe)
    looks_per_second = min(section.rate, probe.fps)
    tracklets = Tracklets(lambda: TRACKERS.named(section.tracker)(section, looks_per_second))
    faces = FaceBlur(threads) if section.blur_faces else None
    looks = seen = too_small = reported = 0
    with CropWriter(shard) as writer:
        album = Album(writer, section.crop_rate, section.min_crops, section.min_change, faces)
        # Three threads: one decodes and finds cuts, one detects, and this one tracks and writes.
        for batch, detections in work_ahead(detect_batches(work_ahead(batches), detector)):
            for look, people in zip(batch, detections, strict=True):
                confident = people[people.confidence >= section.confidence]
                found = keep_usable(
                    people, look.image.shape, section.confidence, section.min_height
                )
                for tracklet, box, confidence in tracklets.follow(found, look):
                    album.offer(look, tracklet, box, confidence, found.xyxy)
                looks += 1
                seen += len(found)
                too_small += len(confident) - len(found)
                report(frames.passed - reported)
                reported = frames.passed
        if not looks:
            raise BadVideo(NO_FRAME)
        if not album.rows:
            raise BadVideo(_explain_nobody(looks, seen, album, section))

    # 3. Now that all crops are known, judge each.
    crops, kept_out = select(album.table(), section.min_quality, section.min_crops)
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


def batch_looks(looks: Iterable[Look]) -> Iterator[list[Look]]:
    """Put looks together in batches of BATCH, or less where they are large.

    How large a batch is depends on the size of a look alone, so that the same video is always
    detected in the same batches. The last one may be smaller.

    Args:
        looks: of one video, in their order.

    Yields:
        The batches.
    """
    batch: list[Look] = []
    for look in looks:
        batch.append(look)
        fitting = max(1, BATCH_BYTES // look.image.nbytes)
        if len(batch) == min(BATCH, fitting):
            yield batch
            batch = []
    if batch:
        yield batch


def detect_batches(
    batches: Iterable[list[Look]], detector: FindsPeople
) -> Iterator[tuple[list[Look], list[sv.Detections]]]:
    """Detect people in batches of looks.

    Args:
        batches: as `batch_looks` makes them.
        detector: has begun with their video.

    Yields:
        Each batch, with what was found in each of its looks.
    """
    for batch in batches:
        images = [look.image for look in batch]
        indices = [look.index for look in batch]
        yield batch, detector.detect_many(images, indices)


class Tracklets:
    """Numbers the tracklets of one video.

    Each shot has a fresh tracker, so no tracklet goes on through a cut.

    Args:
        begin_tracker: makes the tracker of a shot.
    """

    def __init__(self, begin_tracker: Callable[[], Tracker]) -> None:
        self._begin_tracker = begin_tracker
        self._shot = -1
        # The numbers in the video, by shot and by the tracker's own number.
        self._numbers: dict[tuple[int, int], int] = {}

    def follow(self, found: sv.Detections, look: Look) -> list[tuple[int, np.ndarray, float]]:
        """Track people into the next look.

        Args:
            found: everybody in it.
            look: later than those before.

        Returns:
            Of each detection that belongs to a tracklet: the tracklet's number in the video, the
            box, float32 [4], and the confidence.
        """
        if look.shot != self._shot:
            self._shot = look.shot
            self._tracker = self._begin_tracker()
        tracked = self._tracker.update(found, look.time, look.image)
        followed = []
        for own_number, box, confidence in zip(
            tracked.tracker_id, tracked.xyxy, tracked.confidence, strict=True
        ):
            number = self._numbers.setdefault((look.shot, int(own_number)), len(self._numbers))
            followed.append((number, box, float(confidence)))
        return followed


def keep_usable(
    found: sv.Detections, shape: tuple[int, ...], confidence: float, min_height: int
) -> sv.Detections:
    """Keep the detections that are confident and tall enough, in whole pixels inside the frame.

    Args:
        found: what the detector gave for one frame; its boxes are replaced by rounded ones.
        shape: of the frame, (H, W, ...).
        confidence: detections of less are left out.
        min_height: pixels; lower boxes are left out.

    Returns:
        Those of `found` that are kept.
    """
    height, width = shape[:2]
    found.xyxy = np.rint(found.xyxy).clip(0, [width, height, width, height]).astype(np.float32)
    x1, y1, x2, y2 = found.xyxy.T
    is_confident = found.confidence >= confidence
    is_tall = y2 - y1 >= min_height
    is_wide = x2 - x1 >= LEAST_WIDTH
    return found[is_confident & is_tall & is_wide]


def _explain_nobody(looks: int, seen: int, album: Album, section: Extract) -> str:
    """The reason why a video is set aside in which nobody is seen for long enough."""
    if not seen:
        return f"no people found in {looks} frames looked at"
    return (
        f"no tracklet of at least min_crops = {section.min_crops} crops "
        f"({seen} detections in {looks} frames looked at, {len(album.waiting)} shorter tracklets)"
    )
