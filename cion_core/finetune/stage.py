"""The finetune stage: a model folder and the training images of a benchmark in, a fine-tuned one
out, and its cost.
"""

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
from cion_core.finetune import start
from cion_core.finetune.images import Images, Labelled
from cion_core.finetune.recipes import RECIPES
from cion_core.finetune.recipes.base import Recipe
from cion_core.finetune.settings import Finetune
from cion_core.progress import say
from cion_core.runtime import Runtime
from cion_core.training import ranks
from cion_core.training.batches import shared
from cion_core.training.checkpoint import Checkpoints
from cion_core.training.placing import own_generators, used
from cion_core.training.run import fit, spent
from cion_core.training.stop import resumable
from cion_core.zoo.card import FINETUNED
from cion_core.zoo.weights import put


def run(
    p: Finetune,
    name: str,
    method: str,
    backbone: str,
    runtime: Runtime = Runtime(),
    root: Path = Path("data"),
) -> None:
    """Fine-tune one model by the run `name`, into root/finetune/NAME/METHOD-BACKBONE.

    The time that it took, over all its parts, is written into
    root/costs/finetune/NAME/METHOD-BACKBONE.json. It begins with what `start` has laid out, and
    goes on where a killed run stopped. Under torchrun each process takes its share of every batch,
    and the first one alone writes and records.

    Raises:
        Preempted: a SIGTERM has come; `resume.json` in the work folder says what to run again.
        CionError: too few training people, an unreadable image, a missing model, a model that is
            more than a backbone, a loss that is not finite, a batch that cannot be shared out, an
            inference module that does not fit what was trained.
    """
    pretrained, source = f"{method}-{backbone}", start.model(root, name, f"{method}-{backbone}")
    table = root / "start" / name / "images.parquet"
    training = tables.read(tables.Benchmark, table)
    recipe = RECIPES.named(p.runs[name].recipe)(p.numbers(name), p.seed)
    people = pd.factorize(training.person, sort=True)[0].astype(np.int64)
    people = people if recipe.supervised else np.full_like(people, -1)
    cameras = training.camera.to_numpy(np.int64)
    with ranks.together(runtime.device, runtime.backend) as device, own_generators(device):
        network, card = zoo.load(source, recipe.settings.image)
        if card.built_by:
            raise CionError(
                f"finetune.runs.{name}.from: {source} holds more than a backbone, which "
                f"{card.built_by} builds; valid: a run whose recipe keeps the backbone alone, "
                "such as bag_of_tricks"
            )
        recipe.prepare(card)
        images = Images(
            training.path.tolist(), training.sha256.tolist(), recipe.size, recipe.resizing[0]
        )
        torch.manual_seed(p.seed)  # heads that the recipe adds are drawn from it
        try:
            batches = Labelled(recipe, images, people, cameras, p.seed, ranks.rank(), ranks.size())
            learner, steps = recipe.learner(network, people), recipe.steps(people)
        except ValueError as error:
            raise CionError(f"finetune.runs.{name}, on {table}: {error}") from None
        if recipe.every is None:
            rows, instances = batches.sampler(0)
            shared(f"finetune.{recipe.name}: a batch of", len(rows), instances)
        tags = {
            "method": method,
            "backbone": backbone,
            "run": name,
            "recipe": recipe.name,
            "benchmark": p.runs[name].on,
        }
        settings = {**tags, "seed": p.seed, "settings": recipe.settings.model_dump()}
        key = work.key({**settings, "images": training.sha256.tolist()}, source / start.WEIGHTS)
        ranks.agree("the images, the pre-trained weights and the settings", key)
        checkpoints = Checkpoints(work.folder("finetune", key))
        main = ranks.rank() == 0
        if main:
            beside = f", {ranks.size()} processes" if ranks.size() > 1 else ""
            of = (
                f" of {people.max() + 1} people"
                if recipe.supervised
                else ", of whom nothing is told"
            )
            what = f"{backbone} after {method} by {recipe.name}, on {len(training)} images{of}"
            say(f"run {name}: {what}, on {device}{beside}")
        with (
            tracking.run("finetune", f"{pretrained}-{name}", key, settings, tags)
            if main
            else nullcontext() as record
        ):
            with resumable(checkpoints, f"finetune {name} {method} {backbone}", **tags):
                history, seconds = fit(
                    f"{name} {pretrained}",
                    learner,
                    batches,
                    steps,
                    device,
                    checkpoints,
                    runtime,
                    record,
                )
            if not main:
                return
            card = _card(recipe, card, {**settings, "runtime": used(runtime, device)})
            model = recipe.inference(
                card
            ).eval()  # as it was before it was compiled or synchronised
            put(
                model,
                learner.exported.state_dict(),
                f"{recipe.name}: what it trained is not its inference module",
            )
            card = replace(card, num_features=model.num_features)
            out = root / "finetune" / name / pretrained
            with work.replaced(out) as folder:
                zoo.save(folder, model, card)
                pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
            work.write_json(
                root / "costs/finetune" / name / f"{pretrained}.json", spent(seconds, device)
            )
            record.artifact(out / "history.csv")
            record.model(model, np.zeros((1, 3, *card.image), np.float32), asdict(card))
    shutil.rmtree(checkpoints.folder)


def _card(recipe: Recipe, card: zoo.Card, told: dict) -> zoo.Card:
    """The card of what a recipe has made of the model of `card`: how its images are prepared, and
    what it has seen.

    `sources`: the benchmarks that it was trained on, one after another; `labels`: whether it was
    told who is on any image; `supervised`: whether at last.
    """
    before = card.extra.get(FINETUNED, {"sources": [], "labels": False})
    seen = {
        "sources": [*before["sources"], told["benchmark"]],
        "supervised": recipe.supervised,
        "labels": before["labels"] or recipe.supervised,
    }
    extra = {**card.extra, FINETUNED: {**told, **seen}}
    return replace(
        card, image=recipe.size, mean=recipe.mean, std=recipe.std, resize=recipe.resizing[1],
        built_by=recipe.built_by(), extra=extra,
    )  # fmt: skip
