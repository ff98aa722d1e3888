"""The album of a video: which detections become crops, and what is told of each crop."""

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
        writer: of the video's crops.
        crop_rate: crops a second of each tracklet.
        min_crops: tracklets with fewer are not written.
        min_change: grey levels by which a crop must differ from its tracklet's last crop that was
            not nearly equal, or it is called nearly equal itself.
        conceal: takes out of a look's image (BGR uint8 [H, W, 3]) what must not be stored, such as
            faces. None: nothing must be taken out.

    Attributes:
        rows: the crops written so far, as `table` has them.
        waiting: by tracklet, the crops of those that have too few so far.
    """

    def __init__(
        self,
        writer: CropWriter,
        crop_rate: float,
        min_crops: int,
        min_change: float = 0.0,
        conceal: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self._writer = writer
        self._rate = crop_rate
        self._min_crops = min_crops
        self._changes = Changes(min_change, min_crops)
        self._conceal = conceal
        # The last look's index, and what may be stored of it.
        self._concealed: tuple[int, np.ndarray] | None = None
        # By tracklet, the slot of its last crop.
        self._last_slot: dict[int, int] = {}
        self.waiting: dict[int, list[tuple[dict, np.ndarray]]] = {}
        self.rows: list[dict] = []

    def offer(
        self, look: Look, tracklet: int, box: np.ndarray, confidence: float, people: np.ndarray
    ) -> None:
        """Take a detection of somebody, unless the tracklet has a crop of this slot already.

        Args:
            look: where somebody was seen.
            tracklet: whose detection it is.
            box: float32 [4], x1 y1 x2 y2, whole pixels inside of the image.
            confidence: the detector's.
            people: float32 [n, 4], everybody's boxes in the look, this one too.
        """
        # 1. One crop in each slot of 1/crop_rate seconds is enough.
        this_slot = slot(look.time, self._rate)
        if self._last_slot.get(tracklet) == this_slot:
            return
        # 2. Take the crop, and measure what only the frame tells.
        x1, y1, x2, y2 = (int(side) for side in box)
        row = {
            "frame": look.index, "time_s": look.time, "shot": look.shot, "tracklet": tracklet,
            "x1": x1, "y1": y1, "x2": x2, "y2": y2, "confidence": confidence,
        }  # fmt: skip
        crop = self._to_store(look)[y1:y2, x1:x2, ::-1].copy()
        height, width = look.image.shape[:2]
        row |= seen_in(box, people, width, height)
        row["nearly_equal"] = self._changes.is_nearly_equal(tracklet, crop)
        # 3. Write it, or let it wait until the tracklet is long enough.
        if tracklet not in self._last_slot:
            self.waiting[tracklet] = []
        self._last_slot[tracklet] = this_slot
        if tracklet not in self.waiting:
            self._write(row, crop)
            return
        self.waiting[tracklet].append((row, crop))
        if len(self.waiting[tracklet]) >= self._min_crops:
            for early in self.waiting.pop(tracklet):
                self._write(*early)

    def _to_store(self, look: Look) -> np.ndarray:
        """The image that the look's crops are taken from; the first of them makes it."""
        if self._conceal is None:
            return look.image
        if self._concealed is None or self._concealed[0] != look.index:
            self._concealed = (look.index, self._conceal(look.image))
        return self._concealed[1]

    def _write(self, row: dict, crop: np.ndarray) -> None:
        name = f"t{row['tracklet']:06d}_f{row['frame']:08d}"
        offset, size = self._writer.add(name, crop)
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
