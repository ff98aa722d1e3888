"""Do the differences between methods outlast the seed?

It prints frozen scores of every method over several seeds.

    python bench/seeds.py --seeds 3 > table.md
    python bench/seeds.py --seeds 1 --method dino --lr 0.001 --lr 0.01   # a sweep of learning rates
    python bench/seeds.py --seeds 1 --method true --steps 2000           # what more training gives

After `dvc repro`: pre-trains each method once per seed with params.yaml as it is, on the crops and
identities in data/, and evaluates the backbones frozen on the first of benchmark.sources. What
params.yaml says is the run in data/ itself. `true` is cion on the same crops, but those of nobody,
with the identities of the renderer's truth: what perfect denoising would give. Backbones lie below
.cion/seeds and stay: a second run trains what is new.
"""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from cion_core import project, tables, work
from cion_core.embed.model import load_embedder
from cion_core.evaluate.stage import measure
from cion_core.pretrain import stage
from cion_core.pretrain.labelled_crops import read_crops
from cion_core.pretrain.methods import METHODS
from cion_core.pretrain.methods.base import Trained
from cion_core.project import Params
from cion_core.report.comparison import STRIPES
from cion_core.studies.files import link

DATA = Path("data")
TRUE = "true"
CLAIMS = (
    ("cion", "tracklet"),
    ("tracklet", "dino"),
    ("cion", "lup"),
    (TRUE, "cion"),
    (TRUE, STRIPES),
)


def trained(p: Params, method: str, backbone: str, seed: int, steps: int, lr: float | None) -> Path:
    """The model folder of one method, seed, length and learning rate, trained unless it is there.

    A learning rate of None is the method's own.
    """
    base = "cion" if method == TRUE else method
    changes = {"seed": seed, "steps": steps}
    if lr is not None:
        changes[base] = p.pretrain.settings(base).model_copy(update={"lr": lr})
    pretrain = p.pretrain.model_copy(update=changes)
    if pretrain == p.pretrain and method != TRUE:
        return DATA / "pretrain" / f"{method}-{backbone}"
    _, inputs = read_crops(DATA)
    shaping = [
        pretrain.own() | {"methods": None, "backbones": None},
        pretrain.settings(base).model_dump(),
    ]
    root = work.folder("seeds", work.key([shaping, method, backbone], *inputs))
    model = root / "pretrain" / f"{base}-{backbone}"
    if not model.exists():
        lay_out(root, method == TRUE)
        stage.run(pretrain, base, backbone, p.runtime, root)
    return model


def learns(method: str) -> bool:
    """Whether there is a learning rate to vary."""
    return method == TRUE or issubclass(METHODS.named(method), Trained)


def lay_out(root: Path, true: bool) -> None:
    """Link what pre-training reads below `root`.

    `true`: with the true identities in place of those across videos.
    """
    if true:
        tables.write(
            tables.Identities, true_identities(), root / "denoise/cross_video/identities.parquet"
        )
    for part in ("tracklets", "denoise/video", *([] if true else ["denoise/cross_video"])):
        link(root / part, DATA / part)


def true_identities() -> pd.DataFrame:
    """The person of every crop that the last level keeps; crops of nobody are left out."""
    people = tables.read(tables.People, DATA / "audit/people.parquet").rename(
        columns={"person": "identity"}
    )
    kept = tables.read(tables.Identities, DATA / "denoise/cross_video/identities.parquet").crop
    return people[people.crop.isin(kept) & (people.identity >= 0)].reset_index(drop=True)


def score(p: Params, model: Path) -> dict[str, float]:
    """Scores of a model folder on the first benchmark, in percent."""
    images = tables.read(
        tables.Benchmark, DATA / "benchmark" / next(iter(p.benchmark.sources)) / "images.parquet"
    )
    return measure(
        load_embedder(model, p.runtime), images, p.evaluate, p.runtime, model.name
    ).numbers


def report(rows: pd.DataFrame, seeds: int) -> str:
    """Markdown of frozen scores: rows have method, seed, mAP, rank1."""
    lines = [
        f"| method | mAP over {seeds} seeds | Rank-1 | mAP of each seed |",
        "| --- | --- | --- | --- |",
    ]
    by = rows.groupby("method", sort=False)
    for method, of in by:
        each = ", ".join(f"{value:.1f}" for value in of.mAP)
        lines.append(f"| {method} | {spread(of.mAP)} | {spread(of.rank1)} | {each} |")
    mAP = {method: of.set_index("seed").mAP for method, of in by}
    mAP[STRIPES] = pd.Series(mAP[STRIPES].iloc[0], index=range(seeds))  # knows no seed
    lines.append("")
    for better, worse in CLAIMS:
        if better in mAP and worse in mAP:
            gain = mAP[better] - mAP[worse]
            wins = int((gain > 0).sum())
            lines.append(
                f"- {better} over {worse}: {spread(gain)} mAP, ahead in {wins} of {len(gain)} seeds"
            )
    return "\n".join(lines)


def spread(values: pd.Series) -> str:
    """Mean ± sample standard deviation."""
    return f"{values.mean():.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


def main(
    seeds: Annotated[int, typer.Option(min=1, help="seeds 0 to N-1")] = 3,
    method: Annotated[
        list[str] | None, typer.Option(help="only these; default: all of params.yaml, and true")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="instead of params.yaml's")] = None,
    lr: Annotated[
        list[float] | None, typer.Option(min=1e-9, help="instead of params.yaml's")
    ] = None,
) -> None:
    os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", "cion-seeds")
    p = project.load()
    backbone, methods = p.pretrain.backbones[0], method or [*p.pretrain.methods, TRUE]
    with redirect_stdout(sys.stderr):  # stdout is for the table alone
        rows = [{"method": STRIPES, "seed": 0, **score(p, Path("models") / STRIPES)}]
        for seed in range(seeds):
            for name in methods:
                for rate in lr if lr and learns(name) else [None]:
                    label = name if rate is None else f"{name} (lr {rate:g})"
                    model = trained(p, name, backbone, seed, steps or p.pretrain.steps, rate)
                    rows.append({"method": label, "seed": seed, **score(p, model)})
    print(report(pd.DataFrame(rows), seeds))


if __name__ == "__main__":
    typer.run(main)
