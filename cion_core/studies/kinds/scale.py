"""What more footage gives: a share of the videos, from denoising to a pre-trained backbone."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from cion_core import tables
from cion_core.config import Fraction, Section, Seed
from cion_core.denoise import stage as denoising
from cion_core.studies.kinds.base import IDENTITIES_FOLDER, Pretraining
from cion_core.studies.labels import measure_agreement

# What denoising is given; it need not be kept.
GIVEN = ("tracklets", "embeddings")


class Scale(Pretraining):
    """One point for each share of the videos.

    Whole videos are left out: who films half as long has half as many, not half of each tracklet.
    """

    about = "what more videos give: a share of them, denoised and pre-trained on"
    title = "How much footage it takes"
    axis = ("share", "share of the videos")

    class Settings(Section):
        """How much footage, and what is trained on it.

        Attributes:
            shares: of the videos; with one seed the smaller share lies in the larger.
            methods: of `pretrain.methods`.
            seeds: of the choice and the training.
        """

        shares: Annotated[list[Annotated[Fraction, Field(gt=0)]], Field(min_length=1)]
        methods: Annotated[list[str], Field(min_length=1)]
        seeds: Annotated[list[Seed], Field(min_length=1)]

    @property
    def methods(self) -> list[str]:
        """Those of studies/params.yaml."""
        return self.settings.methods

    def points(self) -> list[dict]:
        """A point for each share."""
        return [{"share": share} for share in self.settings.shares]

    def lay_out(self, point: dict, seed: int, data: Path, out: Path) -> dict:
        """Denoise a share of the videos; see `Study.lay_out`."""
        # 1. Choose videos, and write their crops and features as extract and embed do.
        videos = tables.read(tables.Videos, data / "raw/videos.parquet")
        chosen = order_videos(videos, seed)[: count_videos(point["share"], len(videos))]
        all_crops = tables.read(tables.Crops, data / "tracklets/crops.parquet")
        is_chosen = all_crops.video.isin(chosen).to_numpy()
        crops = all_crops[is_chosen]
        features = np.load(data / "embeddings/features.npy", mmap_mode="r")
        tables.write(tables.Crops, crops, out / "tracklets/crops.parquet")
        (out / "embeddings").mkdir()
        np.save(out / "embeddings/features.npy", features[is_chosen])

        # 2. Denoise them anew, thresholds included.
        settings = self.params.denoise.model_copy(update={"earlier": None})
        for level in tables.LEVELS:
            denoising.run(settings, level, self.params.runtime, out)
        for name in GIVEN:
            shutil.rmtree(out / name)

        file = out / IDENTITIES_FOLDER / tables.LEVELS[-1] / "identities.parquet"
        identities = tables.read(tables.Identities, file)
        return {"videos": len(chosen), **measure_agreement(crops, identities, data)}


def count_videos(share: float, total: int) -> int:
    """A share of the videos, to the nearest whole, one at least."""
    return max(1, math.floor(share * total + 0.5))


def order_videos(videos: pd.DataFrame, seed: int) -> list[str]:
    """All videos in an order of which every beginning has nearly its share of each camera's.

    So of one seed the smaller subsets lie in the larger. Each camera's videos are shuffled and
    spread evenly over the order from 0 to 1, beginning anywhere.

    For example, camera a has videos a1, a2, and b has b1, b2, b3, b4::

        a:      0.3: a2             0.8: a1
        b: 0.2: b3   0.45: b1   0.7: b4   0.95: b2
        order: b3 a2 b1 b4 a1 b2

    Args:
        videos: a tables.Videos.
        seed: of the order.
    """
    rng = np.random.default_rng([seed, len(videos)])
    placed = []
    for group, own_videos in videos.sort_values("video").groupby("group"):
        count = len(own_videos)
        places = (np.arange(count) + rng.random()) / count
        shuffled = rng.permutation(own_videos.video)
        placed += zip(places, [group] * count, shuffled, strict=True)
    return [video for _, _, video in sorted(placed)]
