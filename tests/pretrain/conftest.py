"""A miniature of what the pretrain stage reads, and its parameters."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cion_core import params, tables
from cion_core.crops import CropWriter
from cion_core.pretrain.settings import Pretrain

SIZES = (3, 4, 5, 6)  # crops per tracklet; tracklets 0 and 1 are one person in two videos

TINY = {
    "steps": 6,
    "batch": 8,
    "image": (32, 16),
    "local_image": (16, 8),
    "local_views": 1,
    "views": {
        "jitter": 0.8,
        "grey": 0.2,
        "blur": (1.0, 0.1, 0.5),
        "solarise": 0.2,
        "local_scale": (0.05, 0.8),
    },
    "held_out": 0.0,
    "head": {"out_dim": 16, "hidden": 8, "bottleneck": 4, "batch_norm": True},
}


@pytest.fixture(autouse=True)
def threads(one_thread) -> None:
    """Of every test here."""


@pytest.fixture
def settings(project: Path) -> Callable[..., Pretrain]:
    """The project's pretrain section at a size for tests, with the changes that a test asks for."""
    values = params.read(project / "params.yaml")["pretrain"] | TINY
    values["lup"]["queue"] = values["pnl"]["queue"] = 12
    return lambda **changes: Pretrain.model_validate(values | changes)


@pytest.fixture
def data(workspace: Path) -> Path:
    """data/ of four tracklets of random crops in one shard, denoised.

    The last crop is dropped by every level.
    """
    root = workspace / "data"
    rng = np.random.default_rng(0)
    rows = []
    with CropWriter(root / "tracklets/crops/v.tar") as writer:
        for tracklet, count in enumerate(SIZES):
            colour = rng.integers(40, 200, 3)
            for frame in range(count):
                image = np.clip(colour + rng.integers(-40, 40, (24, 12, 3)), 0, 255).astype(
                    np.uint8
                )
                offset, size = writer.add(str(len(rows)), image)
                rows.append(
                    {"crop": len(rows), "video": "v.mp4", "frame": frame, "time_s": frame / 10,
                     "tracklet": tracklet, "x1": 0, "y1": 0, "x2": 12, "y2": 24, "confidence": 1.0,
                     "shard": "v.tar", "offset": offset, "size": size}
                )  # fmt: skip
    crops = tables.write(tables.Crops, pd.DataFrame(rows), root / "tracklets/crops.parquet")
    kept = crops[["crop"]].iloc[:-1]
    for level, identity in (
        ("video", crops.tracklet),
        ("cross_video", crops.tracklet.clip(lower=1)),
    ):
        table = kept.assign(identity=identity)
        tables.write(tables.Identities, table, root / "denoise" / level / "identities.parquet")
    return root


@pytest.fixture
def image() -> np.ndarray:
    """Smooth colours with some texture, RGB uint8 [48, 24, 3]."""
    rng = np.random.default_rng(5)
    smooth = np.kron(rng.integers(0, 256, (6, 3, 3)), np.ones((8, 8, 1)))
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
