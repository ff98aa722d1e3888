"""The start stage: what a run of fine-tuning begins with, laid out as files.

    start/RUN/run.json              the recipe, its settings, the benchmark, the seed
    start/RUN/images.parquet        the training images of its benchmark (tables.Benchmark)
    start/RUN/METHOD-BACKBONE.json  which model folder each of its trainings begins with, and the
                                    hashes of its files

Why a stage of its own: which benchmark and which models a run needs stands in its entry in
params.yaml. DVC can go by that in a stage of each run, but not in one of each run and model. Each
training depends on the three files that concern it, so it runs again only where one of them has
changed.
"""

from __future__ import annotations

import json
from pathlib import Path

from cion_core import tables, work
from cion_core.benchmark.labels import DISTRACTOR
from cion_core.errors import CionError
from cion_core.finetune.recipes import RECIPES
from cion_core.finetune.settings import Finetune
from cion_core.progress import say
from cion_core.zoo.card import FILE as CARD

WEIGHTS = "model.safetensors"


def run(p: Finetune, name: str, root: Path = Path("data")) -> None:
    """Write root/start/NAME.

    Raises:
        CionError: there is no run of that name, or the stages before it have not run.
    """
    if name not in p.runs:
        raise CionError(f"finetune.runs: no run {name}; there are {', '.join(p.runs) or 'none'}")
    run = p.runs[name]
    images = tables.read(tables.Benchmark, root / "benchmark" / run.on / "images.parquet")
    training = images[(images.split == "train") & (images.person > DISTRACTOR)]
    models = sorted(path.parent for path in (root / run.start).glob(f"*/{CARD}"))
    if not models:
        raise CionError(
            f"{root / run.start}: no model folders; the stage that writes them has not run (`dvc "
            "repro`)"
        )
    described = {
        "run": name,
        "recipe": run.recipe,
        "on": run.on,
        "from": run.start,
        "seed": p.seed,
        "supervised": RECIPES.named(run.recipe).supervised,
        "settings": p.settings_of_run(name).model_dump(),
    }
    with work.replaced(root / "start" / name) as folder:
        work.write_json(folder / "run.json", described)
        tables.write(tables.Benchmark, training, folder / "images.parquet")
        for model in models:
            hashes = {file: work.sha256(model / file) for file in (CARD, WEIGHTS)}
            place = model.relative_to(root).as_posix()
            work.write_json(folder / f"{model.name}.json", {"folder": place, **hashes})
    what = f"{run.recipe} on {len(training)} images of {run.on}"
    say(f"run {name}: {what}, from {len(models)} models of {root / run.start}")


def starting_model(root: Path, name: str, pretrained: str) -> Path:
    """The model folder that a training begins with.

    Args:
        root: the folder `data`.
        name: of the run.
        pretrained: METHOD-BACKBONE.

    Raises:
        CionError: the start stage has laid out none.
    """
    file = root / "start" / name / f"{pretrained}.json"
    try:
        return root / json.loads(file.read_text(encoding="utf-8"))["folder"]
    except FileNotFoundError:
        there = ", ".join(sorted(path.stem for path in file.parent.glob("*-*.json"))) or "none"
        raise CionError(
            f"{file}: no such file; valid: one of {there}, or `dvc repro start@{name}` makes it"
        ) from None
