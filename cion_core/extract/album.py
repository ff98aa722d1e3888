"""The album of a video: which sightings of its tracklets become crops, and what is told of each."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pandas as pd

from cion_core.crops import CropWriter
from cion_core.extract.selection import Changes, seen_in
from cion_core.extract.shots import Look
from cion_core.ingest.video import slot


class Album:
    """Chooses crops and writes them.

    A tracklet's first crops wait until there are `min_crops` of it.

    Args:
        writer: Of the video's crops.
        crop_rate: Crops a second of each tracklet.
        min_crops: Tracklets with fewer are not written.
        min_change: Grey levels that a crop must differ by from the one before, or it is called
            nearly equal.
        conceal: Takes out of a look's image (BGR uint8 [H, W, 3]) what must not be stored, such as
            faces. None: nothing must be taken out.

    Attributes:
        rows: The crops written so far, as `table` has them.
        waiting: By tracklet, the crops of those that have too few so far.
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
        # The last look's index, and what may be stored of it.
        self._concealed: tuple[int, np.ndarray] | None = None
        self._slot: dict[int, int] = {}
        self.waiting: dict[int, list[tuple[dict, np.ndarray]]] = {}
        self.rows: list[dict] = []

    def offer(
        self, look: Look, tracklet: int, box: np.ndarray, confidence: float, people: np.ndarray
    ) -> None:
        """Take a sighting of somebody, unless there is one of this instant already.

        Args:
            look: Where somebody was seen.
            tracklet: Whose sighting it is.
            box: float32 [4], x1 y1 x2 y2, whole pixels inside of the image.
            confidence: The detector's.
            people: float32 [n, 4], everybody's boxes in the look, this one too.
        """
        # 1. One sighting in each 1/crop_rate seconds is enough.
        now = slot(look.time, self._rate)
        if self._slot.get(tracklet) == now:
            return
        # 2. Cut out, and measure what only the frame tells.
        x1, y1, x2, y2 = (int(v) for v in box)
        row = {
            "frame": look.index, "time_s": look.time, "shot": look.shot, "tracklet": tracklet,
            "x1": x1, "y1": y1, "x2": x2, "y2": y2, "confidence": confidence,
        }  # fmt: skip
        crop = self._to_store(look)[y1:y2, x1:x2, ::-1].copy()
        height, width = look.image.shape[:2]
        row |= seen_in(box, people, width, height)
        row["nearly_equal"] = self._changes.is_nearly_equal(tracklet, crop)
        # 3. Write it, or let it wait until the tracklet is long enough.
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
        """The image that the look's crops are cut from; the first of them makes it."""
        if self._conceal is None:
            return look.image
        if self._concealed is None or self._concealed[0] != look.index:
            self._concealed = (look.index, self._conceal(look.image))
        return self._concealed[1]

    def _write(self, row: dict, crop: np.ndarray) -> None:
        offset, size = self._writer.add(f"t{row['tracklet']:06d}_f{row['frame']:08d}", crop)
        self.rows.append({**row, "sharpness": sharpness(crop), "offset": offset, "size": size})

    def table(self) -> pd.DataFrame:
        """The crops written: tables.Crops without video and shard, with `selection.MEASURED`.

        Returns:
            Ordered by tracklet and frame; both ids count from 0.
        """
        crops = pd.DataFrame(self.rows).sort_values(["tracklet", "frame"], ignore_index=True)
        crops["tracklet"] = crops.tracklet.rank(method="dense").astype(int) - 1
        crops.insert(0, "crop", np.arange(len(crops)))
        return crops


def sharpness(image: np.ndarray) -> float:
    """How sharp an image is: the standard deviation of the Laplacian of its grey levels.

    After Pech-Pacheco et al. (ICPR 2000), who take the variance.

    Args:
        image: RGB uint8 [H, W, 3].
    """
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F).std())
