"""How crops are denoised: the settings of the library call, the stages, the commands, the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from cion_core.config import Count, Section
from cion_core.denoise.linking.rules import RULES
from cion_core.registry import Kind
from cion_core.sections import PartsSection

Auto = Literal["auto"]
Distance = Annotated[float, Field(gt=0, le=2)]
Threshold = Distance | Auto


@dataclass(frozen=True)
class Thresholds:
    """What a level tolerates; None: not known yet, and found from the data.

    Attributes:
        radius: a cosine distance within which samples lie of their identity's other samples;
            across videos, of their centroid (and None is no limit).
        separation: how far apart identities are at least, on the level's own scale.
        cut: the score (`cuts.score_cuts`) below which a tracklet is not cut.
    """

    radius: float | None = None
    separation: float | None = None
    cut: float | None = None


class Radius(Section):
    """The radius (ρ) of each level: how far a sample may lie from the others of its identity.

    A cosine distance; auto: from the data.
    """

    tracklet: Threshold = "auto"
    video: Threshold = "auto"
    cross_video: Threshold = "auto"


class Separation(Section):
    """The separation (δ) of the levels that join identities: those that are closer become one.

    Inside a video a distance of contrast (`contrast.distances`), across videos on the linking
    rule's own scale; auto: from the data.
    """

    video: Threshold = "auto"
    cross_video: Threshold = "auto"


class Cut(Section):
    """The score (`cuts.score_cuts`) from which on a tracklet is cut in two.

    auto: from the data; 4 (`switches.CUTS_NOTHING`): none is cut.
    """

    tracklet: Annotated[float, Field(gt=0, le=4)] | Auto = "auto"


class Settings(PartsSection):
    """What the three levels go by; frozen. A linking rule's own settings stand under its name.

    Thresholds are given per level, since their scales differ: there is no number that suits all.

    `false_link_rate` is what a threshold that is "auto" reckons with. What that is depends on the
    threshold: for a radius (levels 1 and 2), the least share of strange crops; for the separation
    across videos by the rule `published`, the wrong links per node that are accepted. The
    separation inside a video and the rule `reciprocal` do not use it.
    """

    chooses: ClassVar[dict[str, Kind]] = {"linking": RULES}

    radius: Radius = Radius()
    separation: Separation = Separation()
    cut: Cut = Cut()
    false_link_rate: Annotated[float, Field(gt=0, lt=1)] = 0.05
    min_crops: Count = 1
    linking: str = "reciprocal"
    range: Annotated[int, Field(ge=2)] | Literal["auto", "all"] = "auto"
    stride: Count | Auto = "auto"
    cannot_link: bool = True

    @model_validator(mode="after")
    def _stride_below_range(self) -> Settings:
        both_given = isinstance(self.stride, int) and isinstance(self.range, int)
        if both_given and self.stride >= self.range:
            raise ValueError(
                f"stride {self.stride} must be below range {self.range}, or none overlap"
            )
        return self

    def thresholds(self, level: str) -> Thresholds:
        """Those of a level; None for what is to be found from the data."""
        sections = self.radius, self.separation, self.cut
        given = [getattr(section, level, "auto") for section in sections]
        return Thresholds(*map(_number, given))

    def fixed(self, found: Mapping[str, Thresholds]) -> Settings:
        """The same settings with the thresholds that a run found.

        Args:
            found: by level; levels that are not named keep theirs.
        """
        sections = {}
        for kind in ("radius", "separation", "cut"):
            own = getattr(self, kind)
            values = {
                level: _threshold(getattr(limit, kind))
                for level, limit in found.items()
                if hasattr(own, level)
            }
            sections[kind] = own.model_copy(update=values)  # unchecked: what a run found may be 0
        return self.model_copy(update=sections)

    def of(self, level: str) -> dict[str, Any]:
        """All that a level's result depends on, as JSON holds it."""
        shared = {"radius": getattr(self.radius, level), "false_link_rate": self.false_link_rate}
        if level == "tracklet":
            return shared | {"min_crops": self.min_crops, "cut": self.cut.tracklet}
        shared |= {"separation": getattr(self.separation, level), "cannot_link": self.cannot_link}
        if level == "video":
            return shared
        rule = {"linking": self.linking, self.linking: self.settings(self.linking).model_dump()}
        return shared | rule | {"range": self.range, "stride": self.stride}


class Denoise(Settings):
    """The section `denoise` of params.yaml.

    `earlier`: the folder of a result that is continued, null for none.
    """

    earlier: str | None = None


def _number(value: float | str) -> float | None:
    return None if value == "auto" else value


def _threshold(value: float | None) -> float | str:
    return "auto" if value is None else value
