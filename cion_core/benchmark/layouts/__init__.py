"""Ways in which labelled sets lie in folders, one file each; see `base.Layout`."""

from __future__ import annotations

from cion_core.registry import Kind

LAYOUTS = Kind("benchmark layout", "benchmark.layout", __name__, asks=("auto",))
