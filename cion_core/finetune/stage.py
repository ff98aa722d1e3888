"""The finetune stage: a pre-trained model folder and a labelled set in, a fine-tuned model folder out."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cion_core import tables, tracking, work, zoo
from cion_core.errors import CionError
from cion_core.finetune.images import Augmented, Images
from cion_core.finetune.recipes import RECIPES
from cion_core.finetune.settings import Finetune
from cion_core.progress import say
from cion_core.runtime import Runtime
from cion_core.training import ranks
from cion_core.training.batches import shared
from cion_core.training.checkpoint import Checkpoints
from cion_core.training.loop import used
from cion_core.training.run import fit
from cion_core.training.stop import resumable
from cion_core.zoo.weights import put


def run(p: Finetune, method: str, backbone: str, runtime: Runtime = Runtime(), root: Path = Path("data")) -> None:
    """Fine-tune `pretrain/METHOD-BACKBONE` on the benchmark's training people into `finetune/METHOD-BACKBONE`.

    Goes on where a killed run stopped. Under torchrun each process takes its share of every batch, and the first one
    alone writes and records.

    Raises:
        Preempted: a SIGTERM has come; `resume.json` in the work folder says what to run again.
        CionError: too few training people, an unreadable image, a missing model, a loss that is not finite, a batch
            that cannot be shared out, an inference module that does not fit what was trained.
    """
    name, recipe = f"{method}-{backbone}", RECIPES.named(p.recipe)(p)
    table = root / "benchmark/images.parquet"
    labelled = tables.read(tables.Benchmark, table)
    training = labelled[(labelled.split == "train") & (labelled.person > 0)]
    labels, people = pd.factorize(training.person, sort=True)
    try:
        sampler = recipe.sampler(labels)
    except ValueError as error:
        raise CionError(f"{table}: {error}") from None
    source = root / "pretrain" / name
    with ranks.together(runtime.device) as device, torch.random.fork_rng():
        network, card = zoo.load(source, recipe.image)
        torch.manual_seed(p.seed)  # heads that the recipe adds are drawn from it
        learner = recipe.learner(network, len(people))
        rows, instances = sampler(0)
        shared(f"finetune.{recipe.name}: a batch of", len(rows), instances)
        tags = {"method": method, "backbone": backbone}
        settings = {**tags, **p.own(), "settings": recipe.settings.model_dump()}
        key = work.key(settings, source / "model.safetensors", *training.path)
        checkpoints = Checkpoints(work.folder("finetune", key))
        images = Images(training.path.tolist(), card.image)
        batches = Augmented(images, recipe.augment, card, sampler, p.seed, ranks.rank(), ranks.size())
        main = ranks.rank() == 0
        if main:
            beside = f", {ranks.size()} processes" if ranks.size() > 1 else ""
            say(
                f"fine-tuning {backbone} after {method} by {recipe.name}: {len(training)} images of {len(people)} "
                f"people, on {device}{beside}"
            )
        with tracking.run("finetune", name, key, settings, tags) if main else nullcontext() as record:
            with resumable(checkpoints, f"finetune {method} {backbone}", **tags):
                history = fit(f"fine-tune {name}", learner, batches, recipe.steps, device, checkpoints, runtime, record)
            if not main:
                return
            extra = {**card.extra, "finetuned": {**settings, "runtime": used(runtime, device)}}
            card = replace(card, built_by=recipe.built_by(), extra=extra)
            model = recipe.inference(card).eval()  # as it was before it was compiled or synchronised
            put(model, learner.exported.state_dict(), f"{recipe.name}: what it trained is not its inference module")
            card = replace(card, num_features=model.num_features)
            out = root / "finetune" / name
            with work.replaced(out) as folder:
                zoo.save(folder, model, card)
                pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
            record.artifact(out / "history.csv")
            record.model(model, np.zeros((1, 3, *card.image), np.float32), asdict(card))
    shutil.rmtree(checkpoints.folder)
