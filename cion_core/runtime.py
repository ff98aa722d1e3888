"""What only this machine decides: the `runtime:` section of params.yaml.

No result depends on it but by rounding, so it is a dependency of no stage: changing it makes
nothing again. A model's card says what its training was run with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from cion_core.config import Count, Section

Device = Literal["auto", "cpu", "cuda"]


class Runtime(Section):
    """How stages are run here; see params.yaml for what each key means."""

    engine: Literal["local", "ray"] = "local"
    device: Device = "auto"
    batch: Count = 256
    workers: Annotated[int, Field(ge=0)] = 0
    threads: Count | Literal["auto"] = "auto"
    augment: Literal["auto", "cpu", "device"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    backend: Literal["auto", "gloo"] = "auto"
    accumulate: Count = 1
    checkpointing: bool = False
    compile: bool | Literal["auto"] = "auto"
    checkpoint_every: Count = 100
    watch_every: Count = 100
    # {work pool: its stages}; `flows.graph`.
    pools: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
