"""One video to the crops of its tracklets: detect, track, choose, cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import pandas as pd
import supervision as sv

from cion_core.crops import CropWriter
from cion_core.extract.ahead import ahead
from cion_core.extract.faces import FaceBlur
from cion_core.extract.selection import Changes, seen_in, select
from cion_core.extract.settings import Extract
from cion_core.extract.shots import Look, ShotFinder
from cion_core.extract.trackers import TRACKERS
from cion_core.extract.trackers.base import Tracker
from cion_core.ingest.video import BadVideo, Frames, Probe, slot

BATCH = 16  # looks that are detected in together
BATCH_BYTES = 128 * 2**20  # and bytes of theirs at most, of which four batches are held at once
COMPLETE = (
    0.95  # a video that yields a smaller fraction of the frames that it claims is called truncated
)


class FindsPeople(Protocol):
    """A `Detector`, or what stands in for one in a decoder's process
    (`shared_detector.BorrowedDetector`).
    """

    def begin(self, path: Path, probe: Probe) -> None:
        """Get ready for the video at `path`."""

    def detect_many(
        self, frames: Sequence[np.ndarray], indices: Sequence[int]
    ) -> list[sv.Detections]:
        """People in several frames of the video."""


def cut(
    path: Path,
    probe: Probe,
    detector: FindsPeople,
    p: Extract,
    shard: Path,
    passed: Callable[[int], None],
    threads: int = 1,
) -> tuple[pd.DataFrame, dict]:
    """Write the crops of the people in the video at `path` into the tar `shard`.

    Returns the crops (tables.Crops without video and shard; crop and tracklet count from 0 within
    this video, ordered by tracklet and time) and counts for the report. `passed` is told of frames
    as they go by, from several threads, and with 0 as a sign of life. So many `threads` decode.

    Crops are taken at the same instants for all people (the first look in each 1/crop_rate seconds
    of the video's clock in which a tracklet is seen), so that tracklets that co-occur share frames
    in the table.

    Raises BadVideo, and leaves no shard, if nothing can be decoded or no tracklet is long enough.
    """
    finder = ShotFinder()
    frames = Frames(path, probe.fps, p.rate, threads, passed)
    faces = FaceBlur(threads) if p.blur_faces else None
    tracklets = Tracklets(lambda: TRACKERS.named(p.tracker)(p, min(p.rate, probe.fps)))
    detector.begin(path, probe)
    batches = batched(finder.number(Look(*frame) for frame in frames))
    looks = seen = too_small = reported = 0
    with CropWriter(shard) as writer:
        album = Album(writer, p.crop_rate, p.min_crops, p.min_change, faces)
        # Three threads: one decodes and finds cuts, one detects, and this one tracks and writes.
        for batch, detections in ahead(detected(ahead(batches), detector)):
            for look, people in zip(batch, detections, strict=True):
                sure = people[people.confidence >= p.confidence]
                found = usable(people, look.image.shape, p.confidence, p.min_height)
                too_small += len(sure) - len(found)
                for tracklet, box, confidence in tracklets.follow(found, look):
                    album.offer(look, tracklet, box, confidence, found.xyxy)
                looks, seen = looks + 1, seen + len(found)
                passed(frames.passed - reported)
                reported = frames.passed
        if not looks:
            raise BadVideo("no frame can be decoded")
        if not album.rows:
            raise BadVideo(_nobody(looks, seen, album, p))
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
    """The looks in batches of BATCH, or less where they are large. The last one may be smaller.

    How large a batch is depends on the size of a look alone, so that the same video is always
    detected in the same batches.
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
    """Each batch of looks with what was found in each of them."""
    for batch in batches:
        yield (
            batch,
            detector.detect_many([look.image for look in batch], [look.index for look in batch]),
        )


class Tracklets:
    """Numbers the tracklets of one video, each of its shots with a fresh tracker: none goes on
    through a cut.

    Args:
        begin_tracker: makes the tracker of a shot.
    """

    def __init__(self, begin_tracker: Callable[[], Tracker]) -> None:
        self._begin_tracker = begin_tracker
        self._shot = -1
        self._numbers: dict[tuple[int, int], int] = {}  # of a shot, and of its tracker's own number

    def follow(self, found: sv.Detections, look: Look) -> list[tuple[int, np.ndarray, float]]:
        """What is found in the next look and belongs to a tracklet: its number, the box, and the
        confidence.
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


class Album:
    """Chooses crops and writes them; a tracklet's first crops wait until there are `min_crops` of
    it.

    Args:
        writer: of the video's crops.
        crop_rate: crops a second of each tracklet.
        min_crops: tracklets with fewer are not written.
        min_change: grey levels that a crop must differ by from the one before, or it is called
            nearly equal.
        conceal: takes out of a look's image (BGR uint8 [H, W, 3]) what must not be stored, such as
            faces. None: nothing must be taken out.
    """

    def __init__(
        self,
        writer: CropWriter,
        crop_rate: float,
        min_crops: int,
        min_change: float = 0.0,
        conceal: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self._writer, self._rate, self._min = writer, crop_rate, min_crops
        self._changes = Changes(min_change, min_crops)
        self._conceal = conceal
        self._concealed: tuple[int, np.ndarray] | None = (
            None  # the last look's index, and what may be stored of it
        )
        self._slot: dict[int, int] = {}
        self.waiting: dict[int, list[tuple[dict, np.ndarray]]] = {}
        self.rows: list[dict] = []

    def offer(
        self, look: Look, tracklet: int, box: np.ndarray, confidence: float, people: np.ndarray
    ) -> None:
        """Take a sighting of `tracklet` in `look`; `box` in whole pixels inside of the image,
        `people` all boxes.
        """
        now = slot(look.time, self._rate)
        if self._slot.get(tracklet) == now:
            return
        x1, y1, x2, y2 = (int(v) for v in box)
        row = {
            "frame": look.index, "time_s": look.time, "shot": look.shot, "tracklet": tracklet,
            "x1": x1, "y1": y1, "x2": x2, "y2": y2, "confidence": confidence,
        }  # fmt: skip
        crop = self._to_store(look)[y1:y2, x1:x2, ::-1].copy()
        height, width = look.image.shape[:2]
        row |= seen_in(box, people, width, height)
        row["nearly_equal"] = self._changes.is_nearly_equal(tracklet, crop)
        if tracklet not in self._slot:
            self.waiting[tracklet] = []
        self._slot[tracklet] = now
        if tracklet not in self.waiting:
            self._write(row, crop)
            return
        self.waiting[tracklet].append((row, crop))
        if len(self.waiting[tracklet]) >= self._min:
            for early in self.waiting.pop(tracklet):
                self._write(*early)

    def _to_store(self, look: Look) -> np.ndarray:
        """The image of a look as its crops are cut from it: several crops, of which the first makes
        it.
        """
        if self._conceal is None:
            return look.image
        if self._concealed is None or self._concealed[0] != look.index:
            self._concealed = (look.index, self._conceal(look.image))
        return self._concealed[1]

    def _write(self, row: dict, crop: np.ndarray) -> None:
        offset, size = self._writer.add(f"t{row['tracklet']:06d}_f{row['frame']:08d}", crop)
        self.rows.append({**row, "sharpness": sharpness(crop), "offset": offset, "size": size})

    def table(self) -> pd.DataFrame:
        """The crops written, ordered by tracklet and frame, both ids counted from 0."""
        crops = pd.DataFrame(self.rows).sort_values(["tracklet", "frame"], ignore_index=True)
        crops["tracklet"] = crops.tracklet.rank(method="dense").astype(int) - 1
        crops.insert(0, "crop", np.arange(len(crops)))
        return crops


def sharpness(image: np.ndarray) -> float:
    """Standard deviation of the Laplacian of the grey levels of an RGB image, uint8 [H, W, 3]: low
    where it is blurred.

    After Pech-Pacheco et al. (ICPR 2000), who take the variance.
    """
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F).std())


def usable(
    found: sv.Detections, shape: tuple[int, ...], confidence: float, min_height: int
) -> sv.Detections:
    """`found` in whole pixels inside the frame of `shape` (H, W, ...), without what is unsure or
    too small.
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
