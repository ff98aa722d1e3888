"""The whole of params.yaml, each room's section as the room defines it.

Above the rooms, below the commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import create_model, model_validator

from cion_core import config, params, work
from cion_core.benchmark.layouts import LAYOUTS
from cion_core.benchmark.settings import Benchmark
from cion_core.config import Section
from cion_core.denoise.linking.rules import RULES
from cion_core.denoise.settings import Denoise
from cion_core.embed.embedders import EMBEDDERS
from cion_core.embed.settings import Embed
from cion_core.evaluate.settings import Evaluate
from cion_core.extract.detectors import DETECTORS
from cion_core.extract.settings import Extract
from cion_core.extract.trackers import TRACKERS
from cion_core.finetune.recipes import RECIPES
from cion_core.finetune.settings import Finetune
from cion_core.ingest.settings import Ingest
from cion_core.pretrain.methods import METHODS
from cion_core.pretrain.settings import Pretrain
from cion_core.runtime import Runtime

CODE = Path(__file__).parent
STAMP = "params-checked"  # below .cion: of which params.yaml, by which code
KINDS = (DETECTORS, TRACKERS, EMBEDDERS, RULES, LAYOUTS, METHODS, RECIPES)


class Params(Section):
    """All of params.yaml: a section per stage, and what this machine decides."""

    ingest: Ingest
    extract: Extract
    embed: Embed
    denoise: Denoise
    benchmark: Benchmark
    pretrain: Pretrain
    finetune: Finetune
    evaluate: Evaluate
    runtime: Runtime

    @model_validator(mode="after")
    def _runs_on_benchmarks(self) -> Self:
        for name, run in self.finetune.runs.items():
            if run.on not in self.benchmark.sources:
                there = ", ".join(self.benchmark.sources)
                raise ValueError(
                    f"finetune.runs.{name}.on: no benchmark {run.on} in benchmark.sources, which "
                    f"has {there}"
                )
        return self


def load(path: Path | str = params.FILE, *sections: str) -> Params:
    """Read and check params.yaml: the wrong keys of all stages are named at once.

    Checking a section imports the parts that it names, torch among what they need. So where this
    code has found this file right before, `sections` alone are made, if they are given, with
    `runtime`.

    Args:
        path: the file.
        sections: those that are needed; none: all.

    Raises:
        CionError: a key is missing, unknown or wrong.
    """
    values = params.read(path)
    if not sections:
        return config.checked(values, Params, path)
    known, stamp = work.key(values, *sorted(CODE.rglob("*.py"))), work.ROOT / STAMP
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == known:
        names = (*sections, "runtime")
        some = create_model(
            "Params", __base__=Section, **{name: (Params.inner(name), ...) for name in names}
        )
        return config.checked({name: values[name] for name in names}, some, path)
    found = config.checked(values, Params, path)
    with work.atomic(stamp) as temporary:
        temporary.write_text(known, encoding="utf-8")
    return found
