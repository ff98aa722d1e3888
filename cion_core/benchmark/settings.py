"""The section `benchmark` of params.yaml."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from cion_core.benchmark.layouts import LAYOUTS
from cion_core.config import Name
from cion_core.registry import Kind
from cion_core.sections import PartsSection


class Benchmark(PartsSection):
    """The labelled sets, and how they are laid out.

    Attributes:
        sources: the folder of each set, by the set's name. One with a world.yaml is rendered.
        layout: how the other folders are laid out.
    """

    chooses: ClassVar[dict[str, Kind]] = {"layout": LAYOUTS}

    sources: Annotated[dict[Name, str], Field(min_length=1)]
    layout: str
