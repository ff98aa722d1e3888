"""Crops as the extract stage leaves them: a shard of JPEGs per video, and their table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import tables
from cion_core.crops import CropWriter


def pack(videos: Mapping[str, list[np.ndarray]]) -> None:
    """Write the images of each video, all 40 x 16 pixels, below data/tracklets.

    Five in a row are a tracklet.
    """
    rows: list[dict] = []
    for video, images in videos.items():
        with CropWriter(Path(f"data/tracklets/crops/{video}.tar")) as writer:
            for frame, image in enumerate(images):
                offset, size = writer.add(f"{len(rows):08d}", image)
                rows.append(
                    {
                        "crop": 100 + len(rows),
                        "video": video,
                        "frame": frame,
                        "time_s": frame / 10,
                        "tracklet": len(rows) // 5,
                        "x1": 0,
                        "y1": 0,
                        "x2": 16,
                        "y2": 40,
                        "confidence": 1.0,
                        "shard": f"{video}.tar",
                        "offset": offset,
                        "size": size,
                    }
                )
    tables.write(tables.Crops, pd.DataFrame(rows), "data/tracklets/crops.parquet")
