"""The section `benchmark` of params.yaml."""

from __future__ import annotations

from typing import ClassVar

from cion_core.benchmark.layouts import LAYOUTS
from cion_core.registry import Kind
from cion_core.sections import PartsSection


class Benchmark(PartsSection):
    """`source`: a folder in `layout`, or one with a world.yaml, which is rendered in it."""

    chooses: ClassVar[dict[str, Kind]] = {"layout": LAYOUTS}

    source: str
    layout: str
