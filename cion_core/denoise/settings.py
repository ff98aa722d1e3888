"""How crops are denoised: one object for the library call, the stages, the file command and the audit."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from cion_core.config import Count, Section
from cion_core.denoise.linking.rules import RULES
from cion_core.registry import Kind
from cion_core.sections import PartsSection

Auto = Literal["auto"]
Distance = Annotated[float, Field(gt=0, le=2)]
Threshold = Distance | Auto


class Radius(Section):
    """rho of each level, a cosine distance; auto: from the data."""

    tracklet: Threshold = "auto"
    video: Threshold = "auto"
    cross_video: Threshold = "auto"


class Separation(Section):
    """delta of the levels that join identities; across videos on the linking rule's own scale."""

    video: Threshold = "auto"
    cross_video: Threshold = "auto"


class Settings(PartsSection):
    """What the three levels go by; frozen. A linking rule's own settings stand under its name.

    Thresholds are given per level, since their scales differ: there is no number that suits all.
    """

    chooses: ClassVar[dict[str, Kind]] = {"linking": RULES}

    radius: Radius = Radius()
    separation: Separation = Separation()
    false_link_rate: Annotated[float, Field(gt=0, lt=1)] = 0.05
    min_crops: Count = 1
    linking: str = "reciprocal"
    range: Annotated[int, Field(ge=2)] | Literal["auto", "all"] = "auto"
    stride: Count | Auto = "auto"
    cannot_link: bool = True

    @model_validator(mode="after")
    def _stride_below_range(self) -> Settings:
        if isinstance(self.stride, int) and isinstance(self.range, int) and self.stride >= self.range:
            raise ValueError(f"stride {self.stride} must be below range {self.range}, or none overlap")
        return self


class Denoise(Settings):
    """The section `denoise` of params.yaml. `earlier`: the folder of a result to go on from, null for none."""

    earlier: str | None = None
