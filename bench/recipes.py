"""Does each recipe give more than the start without it, over several seeds?

It runs every run of params.yaml.

    python bench/recipes.py --seeds 3 > table.md
    python bench/recipes.py --seeds 3 --method cion --run adapted

After `dvc repro`: fine-tunes the pre-trained models in data/ once per seed by `finetune.runs`, and
searches the benchmark that a run trains on before and after it. What a run starts from has its seed
too: a model that is adapted was fine-tuned with the same one. The seed of params.yaml is the run in
data/ itself. Models lie below .cion/recipes and stay: a second run trains what is new.

A query's gain is the mean over the seeds of its average precision after less before; its interval
is over people (`evaluate/certainty.py`), so it says whether the recipe gives something, to other
people too, with the seed averaged out. p-values are corrected for how many models a run has (Holm).
"""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from cion_core import project, tables, work
from cion_core.embed.model import load_embedder
from cion_core.evaluate import certainty, queries
from cion_core.evaluate.metrics import Scores
from cion_core.evaluate.stage import measure
from cion_core.finetune import stage, start
from cion_core.project import Params
from cion_core.report.differences import format_interval
from cion_core.studies.files import link

DATA = Path("data")
MODEL = "model.safetensors"


@dataclass(frozen=True)
class Gain:
    """What a run gave one method's model.

    mAP before and after of each seed [seeds], and the paired interval.
    """

    run: str
    method: str
    before: np.ndarray
    after: np.ndarray
    low: float
    high: float
    p: float


def trained(p: Params, run: str, method: str, backbone: str, seed: int) -> Path:
    """The model folder of one run, method and seed, trained unless it is there.

    What it starts from is trained likewise.
    """
    if seed == p.finetune.seed:
        return DATA / "finetune" / run / f"{method}-{backbone}"
    before = p.finetune.runs[run].before
    source = (
        trained(p, before, method, backbone, seed)
        if before
        else DATA / "pretrain" / f"{method}-{backbone}"
    )
    told = p.finetune.runs[run], p.finetune.settings_of_run(run).model_dump()
    images = DATA / "benchmark" / p.finetune.runs[run].on / "images.parquet"
    root = work.folder(
        "recipes", work.key([told[0].model_dump(), told[1], method, seed], images, source / MODEL)
    )
    model = root / "finetune" / run / f"{method}-{backbone}"
    if not model.exists():
        link(root / "benchmark", DATA / "benchmark")
        link(root / p.finetune.runs[run].start / source.name, source)
        changed = p.finetune.model_copy(update={"seed": seed})
        start.run(changed, run, root)
        stage.run(changed, run, method, backbone, p.runtime, root)
    return model


def scored(p: Params, model: Path, benchmark: str) -> pd.DataFrame:
    """tables.Queries of a model folder on a benchmark."""
    images = tables.read(tables.Benchmark, DATA / "benchmark" / benchmark / "images.parquet")
    return measure(
        load_embedder(model, p.runtime), images, p.evaluate, p.runtime, model.name
    ).queries


def gain(p: Params, run: str, method: str, backbone: str, seeds: int) -> Gain:
    """What a run gave one method's model, over seeds 0 to N-1."""
    told = p.finetune.runs[run]
    pairs = []
    for seed in range(seeds):
        first = trained(p, told.before, method, backbone, seed) if told.before else None
        before = scored(p, first or DATA / "pretrain" / f"{method}-{backbone}", told.on)
        after = scored(p, trained(p, run, method, backbone, seed), told.on)
        pairs.append(queries.align(after, before))
    people = pairs[0][2]
    after, before = averaged([pair[0] for pair in pairs]), averaged([pair[1] for pair in pairs])
    found = certainty.paired(after, before, people)["mAP"]
    mAP = np.array([[100 * side.ap[side.findable].mean() for side in pair[:2]] for pair in pairs])
    return Gain(run, method, mAP[:, 1], mAP[:, 0], found["low"], found["high"], found["p"])


def averaged(scores: list[Scores]) -> Scores:
    """Each query's average precision, the mean over seeds.

    Its other scores are the first seed's and mean nothing.
    """
    return replace(scores[0], ap=np.mean([one.ap for one in scores], axis=0))


def report(gains: list[Gain], seeds: int) -> str:
    """Markdown, a row of each run and method."""
    lines = [
        f"| run | method | mAP before | after, {seeds} seeds | gain (95 %) | ahead in | more than "
        "chance |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for run in dict.fromkeys(one.run for one in gains):
        of = [one for one in gains if one.run == run]
        for one, p in zip(of, certainty.holm([one.p for one in of]), strict=True):
            by = one.after - one.before
            real = ("yes" if by.mean() > 0 else "yes, a loss") if p < certainty.LEVEL else "no"
            told = f"{by.mean():+.1f}".replace("-", "−") + format_interval(one.low, one.high)
            lines.append(
                f"| {run} | {one.method} | {spread(one.before)} | {spread(one.after)} | {told} "
                f"| {int((by > 0).sum())} of {seeds} | {real} |"
            )
    return "\n".join(lines)


def spread(values: np.ndarray) -> str:
    """Mean ± sample standard deviation, which one value, or one start for every seed, has not."""
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{values.mean():.1f}" + (f" ± {deviation:.1f}" if deviation > 0 else "")


def main(
    seeds: Annotated[int, typer.Option(min=1, help="seeds 0 to N-1")] = 3,
    method: Annotated[
        list[str] | None, typer.Option(help="only these; default: all of params.yaml")
    ] = None,
    run: Annotated[
        list[str] | None, typer.Option(help="only these; default: all of params.yaml")
    ] = None,
) -> None:
    os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", "cion-recipes")
    p = project.load()
    backbone = p.pretrain.backbones[0]
    with redirect_stdout(sys.stderr):  # stdout is for the table alone
        gains = [
            gain(p, name, of, backbone, seeds)
            for name in run or list(p.finetune.runs)
            for of in method or list(p.pretrain.methods)
        ]
    print(report(gains, seeds))


if __name__ == "__main__":
    typer.run(main)
