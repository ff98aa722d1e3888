"""What more footage gives: a share of the videos, from denoising to the evaluation of the pre-trained backbone."""

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
from cion_core.studies.kinds.base import LABELS, Pretraining
from cion_core.studies.labels import agreement

GIVEN = ("tracklets", "embeddings")  # what denoising is given; it need not be kept


class Scale(Pretraining):
    """Whole videos are left out: who films half as long has half as many videos, not half of each tracklet."""

    about = "what more videos give: a share of them, denoised and pre-trained on"
    title = "How much footage it takes"
    axis = ("share", "share of the videos")

    class Settings(Section):
        """shares: of the videos, nested in each seed; methods: of pretrain.methods."""

        shares: Annotated[list[Annotated[Fraction, Field(gt=0)]], Field(min_length=1)]
        methods: Annotated[list[str], Field(min_length=1)]
        seeds: Annotated[list[Seed], Field(min_length=1)]

    @property
    def methods(self) -> list[str]:
        return self.settings.methods

    def points(self) -> list[dict]:
        return [{"share": share} for share in self.settings.shares]

    def lay_out(self, point: dict, seed: int, data: Path, out: Path) -> dict:
        videos = tables.read(tables.Videos, data / "raw/videos.parquet")
        taken = nested(videos, seed)[: how_many(point["share"], len(videos))]
        crops = tables.read(tables.Crops, data / "tracklets/crops.parquet")
        of = crops.video.isin(taken).to_numpy()
        tables.write(tables.Crops, crops[of], out / "tracklets/crops.parquet")
        (out / "embeddings").mkdir()
        np.save(out / "embeddings/features.npy", np.load(data / "embeddings/features.npy", mmap_mode="r")[of])
        p = self.p.denoise.model_copy(update={"earlier": None})
        for level in tables.LEVELS:
            denoising.run(p, level, self.p.runtime, out)
        for name in GIVEN:
            shutil.rmtree(out / name)
        found = tables.read(tables.Identities, out / LABELS / tables.LEVELS[-1] / "identities.parquet")
        return {"videos": len(taken), **agreement(crops[of], found, data)}


def how_many(share: float, count: int) -> int:
    """A share of so many, to the nearest whole, one at least."""
    return max(1, math.floor(share * count + 0.5))


def nested(videos: pd.DataFrame, seed: int) -> list[str]:
    """All videos (tables.Videos) in an order of which every beginning has its share of each camera's, nearly.

    So of one seed the smaller subsets lie in the larger. The videos of a camera are shuffled and spread evenly over
    the order, beginning anywhere.
    """
    rng = np.random.default_rng([seed, len(videos)])
    order = []
    for group, of in videos.sort_values("video").groupby("group"):
        places = (np.arange(len(of)) + rng.random()) / len(of)
        order += zip(places, [group] * len(of), rng.permutation(of.video), strict=True)
    return [video for _, _, video in sorted(order)]
