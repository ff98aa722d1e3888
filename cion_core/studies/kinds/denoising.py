"""What each level of denoising gives: identities as they are after it, pre-trained on by the same method."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pandas as pd
from pydantic import Field

from cion_core import tables
from cion_core.config import Section, Seed
from cion_core.errors import CionError
from cion_core.pretrain import stage as pretraining
from cion_core.studies.kinds.base import LABELS, Pretraining
from cion_core.studies.labels import agreement, people

NONE, TRUTH = "none", "truth"
METHOD = "cion"


class Denoising(Pretraining):
    """Every labelling brings its own crops: what a level drops is part of what it does."""

    about = "what each level of denoising gives: raw tracklets, ①, ①②, ①②③, true identities"
    title = "What denoising gives"
    axis = ("level", "identities after")
    seeded = False
    changes: ClassVar[dict] = {"min_confidence": None}  # the labels of the last level come cut by it already

    class Settings(Section):
        """levels: none (tracklets as the tracker left them), those of denoising, and truth, where it is known."""

        levels: Annotated[list[Literal["none", "tracklet", "video", "cross_video", "truth"]], Field(min_length=1)]
        seeds: Annotated[list[Seed], Field(min_length=1)]

    @property
    def methods(self) -> list[str]:
        return [METHOD]

    def points(self) -> list[dict]:
        return [{"level": level} for level in self.settings.levels]

    def lay_out(self, point: dict, seed: int, data: Path, out: Path) -> dict:
        crops = tables.read(tables.Crops, data / "tracklets/crops.parquet")
        found = self.identities(point["level"], crops, data)
        for level in ("video", "cross_video"):  # a method that goes by either sees them
            tables.write(tables.Identities, found, out / LABELS / level / "identities.parquet")
        return agreement(crops, found, data)

    def identities(self, level: str, crops: pd.DataFrame, data: Path) -> pd.DataFrame:
        """tables.Identities of one labelling."""
        if level == NONE:
            return crops[["crop", "tracklet"]].rename(columns={"tracklet": "identity"})
        if level == TRUTH:
            known = people(data).rename(columns={"person": "identity"})
            if known.empty:
                raise CionError(
                    "studies/params.yaml: denoising.levels: truth: this footage has none; valid: "
                    f"{', '.join([NONE, *tables.LEVELS])}"
                )
            return known[known.identity >= 0]  # crops of nobody are left out
        if level == tables.LEVELS[-1]:  # as pre-training takes them
            read, _ = pretraining.read(data, self.p.pretrain.min_confidence)
            return read[["crop", level]].rename(columns={level: "identity"})
        return tables.read(tables.Identities, data / "denoise" / level / "identities.parquet")
