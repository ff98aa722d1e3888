"""One video to the crops of its tracklets: detect, track, choose, cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import supervision as sv

from cion_core.crops import CropWriter
from cion_core.extract.detectors.base import Detector
from cion_core.extract.settings import Extract
from cion_core.extract.trackers import TRACKERS
from cion_core.ingest.video import BadVideo, Frames, Probe, slot

COMPLETE = 0.95  # a video that yields a smaller fraction of the frames that it claims is called truncated


def cut(
    path: Path, probe: Probe, detector: Detector, p: Extract, shard: Path, passed: Callable[[int], None]
) -> tuple[pd.DataFrame, dict]:
    """Write the crops of the people in the video at `path` into the tar `shard`.

    Returns the crops (tables.Crops without video and shard; crop and tracklet count from 0 within this video,
    ordered by tracklet and time) and counts for the report. `passed` is told of frames as they go by.

    Crops are taken at the same instants for all people (the first look in each 1/crop_rate seconds of the video's
    clock in which a tracklet is seen), so that tracklets that co-occur share frames in the table.

    Raises BadVideo, and leaves no shard, if nothing can be decoded or no tracklet is long enough.
    """
    frames = Frames(path, probe.fps, p.rate)
    tracker = TRACKERS.named(p.tracker)(p, min(p.rate, probe.fps))
    detector.begin(path, probe)
    looks = seen = reported = 0
    with CropWriter(shard) as writer:
        album = Album(writer, p.crop_rate, p.min_crops)
        for index, time, frame in frames:
            found = usable(detector.detect(frame, index), frame.shape, p.confidence, p.min_height)
            for box, confidence, tracklet in _rows(tracker.update(found, time, frame)):
                album.offer(frame, index, time, tracklet, box, confidence)
            looks, seen = looks + 1, seen + len(found)
            passed(frames.decoded - reported)
            reported = frames.decoded
        passed(frames.decoded - reported)
        if not looks:
            raise BadVideo("no frame can be decoded")
        if not album.rows:
            raise BadVideo(_nobody(looks, seen, album, p))
    crops = album.table()
    return crops, {
        "frames": frames.decoded,
        "frames_claimed": probe.frames,
        "truncated": frames.decoded < COMPLETE * probe.frames,
        "frames_looked_at": looks,
        "detections": seen,
        "tracklets": int(crops.tracklet.nunique()),
        "short_tracklets": len(album.waiting),
        "crops": len(crops),
    }


class Album:
    """Chooses crops and writes them; a tracklet's first crops wait until there are `min_crops` of it."""

    def __init__(self, writer: CropWriter, crop_rate: float, min_crops: int) -> None:
        self._writer, self._rate, self._min = writer, crop_rate, min_crops
        self._slot: dict[int, int] = {}
        self.waiting: dict[int, list[tuple[dict, np.ndarray]]] = {}
        self.rows: list[dict] = []

    def offer(
        self, frame: np.ndarray, index: int, time: float, tracklet: int, box: np.ndarray, confidence: float
    ) -> None:
        """A sighting of `tracklet` in `frame` (BGR); `box` in whole pixels inside of it."""
        now = slot(time, self._rate)
        if self._slot.get(tracklet) == now:
            return
        x1, y1, x2, y2 = (int(v) for v in box)
        row = {
            "frame": index, "time_s": time, "tracklet": tracklet,
            "x1": x1, "y1": y1, "x2": x2, "y2": y2, "confidence": confidence,
        }  # fmt: skip
        crop = frame[y1:y2, x1:x2, ::-1].copy()
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
    """Standard deviation of the Laplacian of the grey levels of an RGB image, uint8 [H, W, 3]: low where it is blurred.

    After Pech-Pacheco et al. (ICPR 2000), who take the variance.
    """
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F).std())


def usable(found: sv.Detections, shape: tuple[int, ...], confidence: float, min_height: int) -> sv.Detections:
    """`found` in whole pixels inside the frame of `shape` (H, W, ...), without what is unsure or too small."""
    height, width = shape[:2]
    found.xyxy = np.rint(found.xyxy).clip(0, [width, height, width, height]).astype(np.float32)
    x1, y1, x2, y2 = found.xyxy.T
    return found[(found.confidence >= confidence) & (y2 - y1 >= min_height) & (x2 - x1 >= 2)]


def _rows(tracked: sv.Detections) -> list[tuple[np.ndarray, float, int]]:
    return [
        (box, float(confidence), int(tracklet))
        for box, confidence, tracklet in zip(tracked.xyxy, tracked.confidence, tracked.tracker_id, strict=True)
    ]


def _nobody(looks: int, seen: int, album: Album, p: Extract) -> str:
    if not seen:
        return f"no people found in {looks} frames looked at"
    return (
        f"no tracklet of at least min_crops = {p.min_crops} crops "
        f"({seen} detections in {looks} frames looked at, {len(album.waiting)} shorter tracklets)"
    )
