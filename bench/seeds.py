"""Do the differences between methods outlast the seed? Frozen scores of every method over several seeds.

    python bench/seeds.py --seeds 3 > table.md

Pre-trains each method once per seed with params.yaml as it is, on the crops and identities in data/, and evaluates
the backbones frozen on data/benchmark. Work lies below .cion/seeds and stays: a second run trains what is new.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from cion_core import params, tables, work
from cion_core.embed import load_embedder
from cion_core.evaluate.stage import STRIPES, measure
from cion_core.pretrain import stage

DATA = Path("data")
CLAIMS = (("cion", "tracklet"), ("tracklet", "dino"), ("cion", "lup"))


def cell(p: params.Params, method: str, backbone: str, seed: int) -> dict[str, float]:
    """mAP, rank1, ... of one method and one seed, from .cion/seeds if they are there."""
    pretrain = p.pretrain.model_copy(update={"seed": seed})
    shaping = pretrain.model_dump(include={*params.Pretrain.model_fields} - stage.UNSHAPED | {method})
    _, inputs = stage.read(DATA)
    key = work.key([shaping, method, backbone], *inputs, DATA / "benchmark/images.parquet")
    root = work.folder("seeds", key)
    for room in ("tracklets", "denoise"):
        if not (root / room).is_symlink():
            (root / room).symlink_to((DATA / room).absolute())
    if not (root / "scores.json").exists():
        stage.run(pretrain, method, backbone, root)
        work.write_json(root / "scores.json", score(p, root / "pretrain" / f"{method}-{backbone}"))
    return json.loads((root / "scores.json").read_text())


def score(p: params.Params, model: Path) -> dict[str, float]:
    """Scores of a model folder on the benchmark, in percent."""
    images = tables.read(tables.Benchmark, DATA / "benchmark/images.parquet")
    return measure(load_embedder(model, p.evaluate.device, p.evaluate.batch), images, p.evaluate, model.name)[0]


def report(rows: pd.DataFrame, seeds: int) -> str:
    """Markdown of frozen scores: rows have method, seed, mAP, rank1."""
    lines = [f"| method | mAP over {seeds} seeds | Rank-1 | mAP of each seed |", "| --- | --- | --- | --- |"]
    by = rows.groupby("method", sort=False)
    for method, of in by:
        each = ", ".join(f"{value:.1f}" for value in of.mAP)
        lines.append(f"| {method} | {spread(of.mAP)} | {spread(of.rank1)} | {each} |")
    mAP = {method: of.set_index("seed").mAP for method, of in by}
    lines.append("")
    for better, worse in CLAIMS:
        if better in mAP and worse in mAP:
            gain = mAP[better] - mAP[worse]
            wins = int((gain > 0).sum())
            lines.append(f"- {better} over {worse}: {spread(gain)} mAP, ahead in {wins} of {len(gain)} seeds")
    return "\n".join(lines)


def spread(values: pd.Series) -> str:
    """Mean ± sample standard deviation."""
    return f"{values.mean():.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


def main(
    seeds: Annotated[int, typer.Option(min=1, help="seeds 0 to N-1")] = 3,
    method: Annotated[list[str] | None, typer.Option(help="only these; default: all of params.yaml")] = None,
) -> None:
    os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", "cion-seeds")
    p = params.load()
    backbone, methods = p.pretrain.backbones[0], method or p.pretrain.methods
    with redirect_stdout(sys.stderr):  # stdout is for the table alone
        rows = [{"method": STRIPES, "seed": 0, **score(p, Path("models") / STRIPES)}]
        for seed in range(seeds):
            rows += [{"method": name, "seed": seed, **cell(p, name, backbone, seed)} for name in methods]
    print(report(pd.DataFrame(rows), seeds))


if __name__ == "__main__":
    typer.run(main)
