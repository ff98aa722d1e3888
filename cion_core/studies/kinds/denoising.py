"""What each level of denoising gives: its identities, pre-trained on by the same method."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pandas as pd
from pydantic import Field

from cion_core import tables
from cion_core.config import Section, Seed
from cion_core.errors import CionError
from cion_core.pretrain.labelled_crops import read_crops
from cion_core.studies.kinds.base import IDENTITIES_FOLDER, Pretraining
from cion_core.studies.labels import measure_agreement, read_people

NONE, TRUTH = "none", "truth"
METHOD = "cion"
LAST_LEVEL = tables.LEVELS[-1]


class Denoising(Pretraining):
    """One point for each level of denoising, and for the truth.

    Each has its own crops: what a level drops is part of what it does.
    """

    about = "what each level of denoising gives: raw tracklets, ①, ①②, ①②③, true identities"
    title = "What denoising gives"
    axis = ("level", "identities after")
    seeded = False
    # `min_confidence` has cut the labels of the last level already.
    changes: ClassVar[dict] = {"min_confidence": None}

    class Settings(Section):
        """Which identities are trained on.

        Attributes:
            levels: none (tracklets as tracked), those of denoising, and truth, where it is known.
            seeds: of the training.
        """

        levels: Annotated[
            list[Literal["none", "tracklet", "video", "cross_video", "truth"]],
            Field(min_length=1),
        ]
        seeds: Annotated[list[Seed], Field(min_length=1)]

    @property
    def methods(self) -> list[str]:
        """CION alone."""
        return [METHOD]

    def points(self) -> list[dict]:
        """A point for each level."""
        return [{"level": level} for level in self.settings.levels]

    def lay_out(self, point: dict, seed: int, data: Path, out: Path) -> dict:
        """Write the identities of one labelling; see `Study.lay_out`."""
        crops = tables.read(tables.Crops, data / "tracklets/crops.parquet")
        identities = self.read_identities(point["level"], crops, data)
        # A method goes by the labels of either level, and is to see these.
        for level in ("video", "cross_video"):
            file = out / IDENTITIES_FOLDER / level / "identities.parquet"
            tables.write(tables.Identities, identities, file)
        return measure_agreement(crops, identities, data)

    def read_identities(self, level: str, crops: pd.DataFrame, data: Path) -> pd.DataFrame:
        """tables.Identities of one labelling.

        Args:
            level: of `Settings.levels`.
            crops: tables.Crops of the footage.
            data: the data folder.

        Raises:
            CionError: the truth is asked for, and this footage has none.
        """
        if level == NONE:
            return crops[["crop", "tracklet"]].rename(columns={"tracklet": "identity"})
        if level == TRUTH:
            return self._read_truth(data)
        if level == LAST_LEVEL:
            # As pre-training takes them.
            seen, _ = read_crops(data, self.params.pretrain.min_confidence)
            return seen[["crop", level]].rename(columns={level: "identity"})
        return tables.read(tables.Identities, data / "denoise" / level / "identities.parquet")

    def _read_truth(self, data: Path) -> pd.DataFrame:
        """Who is on each crop by the audit, without crops of nobody."""
        people = read_people(data).rename(columns={"person": "identity"})
        if people.empty:
            valid = ", ".join([NONE, *tables.LEVELS])
            problem = f"truth: this footage has none; valid: {valid}"
            raise CionError(f"studies/params.yaml: denoising.levels: {problem}")
        return people[people.identity >= 0]
