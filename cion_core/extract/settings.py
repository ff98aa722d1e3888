"""The section `extract` of params.yaml."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from cion_core.config import Count, Fraction, Positive
from cion_core.extract.detectors import DETECTORS
from cion_core.extract.trackers import TRACKERS
from cion_core.registry import Kind
from cion_core.sections import PartsSection


class Extract(PartsSection):
    """What params.yaml says under `extract`, where each key is explained.

    Rates are per second of the video's clock, heights in pixels.
    """

    chooses: ClassVar[dict[str, Kind]] = {"detector": DETECTORS, "tracker": TRACKERS}

    detector: str
    tracker: str
    confidence: Fraction
    min_height: Count
    rate: Positive
    crop_rate: Positive
    lost_seconds: Annotated[float, Field(ge=0)]
    min_crops: Count
    min_quality: Fraction = 0.0
    min_change: Annotated[float, Field(ge=0)] = 0.0
    blur_faces: bool = False
