"""Is a second round worth it? `python bench/rounds.py --seeds 3`, after `dvc repro`.

A round embeds the crops with what the round before pre-trained (the first: with `embed.model`),
denoises them anew and pre-trains `cion` on the identities. Printed for each seed and round: the
identities against the renderer's truth (pairs of tracklets after level 3), and the backbone's
frozen scores on the first of benchmark.sources. Everything else is as params.yaml says; its seed's
first round is the run in data/ itself. What is trained stays below .cion/rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pandas as pd
from seeds import DATA, score, trained

from cion_core import project, tables, work
from cion_core.audit import stage as audit
from cion_core.denoise import stage as denoising
from cion_core.embed import stage as embedding
from cion_core.pretrain import stage as pretraining
from cion_core.project import Params


def again(p: Params, model: Path, root: Path) -> None:
    """A round below `root`: crops embedded by `model`, denoised, and `cion` pre-trained on them."""
    for part in ("tracklets", "raw"):
        if not (root / part).is_symlink():
            (root / part).symlink_to((DATA / part).absolute())
    embedding.run(p.embed.model_copy(update={"model": model.name}), p.runtime, root, model.parent)
    for level in tables.LEVELS:
        denoising.run(p.denoise, level, p.runtime, root)
    audit.run(p.denoise, p.runtime, root)
    pretraining.run(p.pretrain, "cion", p.pretrain.backbones[0], p.runtime, root)


def row(p: Params, root: Path, number: int, scores: dict[str, float]) -> dict[str, float]:
    """What a round found, and what its backbone scores."""
    truth = json.loads((root / "audit/truth.json").read_text())
    pairs = truth["levels"]["cross_video"]["after"]["tracklets"]
    found = {f"pairs' {name}": 100 * pairs[name] for name in ("precision", "recall", "f1")}
    return {
        "seed": p.pretrain.seed,
        "round": number,
        **found,
        "mAP": scores["mAP"],
        "rank1": scores["rank1"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0 to N-1")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", "cion-rounds")
    p, rows = project.load(), []
    backbone = p.pretrain.backbones[0]
    with redirect_stdout(sys.stderr):  # stdout is for the table alone
        for seed in range(options.seeds):
            one = p.model_copy(update={"pretrain": p.pretrain.model_copy(update={"seed": seed})})
            model, root = trained(p, "cion", backbone, seed, p.pretrain.steps, None), DATA
            for number in range(1, options.rounds + 1):
                if number > 1:
                    root = work.folder(
                        "rounds", work.key(one.model_dump(), model / "model.safetensors")
                    )
                    before, model = model, root / "pretrain" / f"cion-{backbone}"
                    if not model.exists():
                        again(one, before, root)
                rows.append(row(one, root, number, score(p, model)))
    print(pd.DataFrame(rows).round(1).to_string(index=False))


if __name__ == "__main__":
    main()
