"""The finetune stage: a model folder and training images in, a fine-tuned model folder out."""

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
from cion_core.finetune.images import Images, RecipeBatches
from cion_core.finetune.recipes import RECIPES
from cion_core.finetune.recipes.base import Recipe
from cion_core.finetune.settings import Finetune
from cion_core.progress import say
from cion_core.runtime import Runtime
from cion_core.training import ranks
from cion_core.training.batches import check_shares
from cion_core.training.checkpoint import Checkpoints
from cion_core.training.placing import describe_runtime, own_generators
from cion_core.training.run import describe_cost, fit
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
    pretrained = f"{method}-{backbone}"
    source = start.starting_model(root, name, pretrained)
    table = root / "start" / name / "images.parquet"
    training = tables.read(tables.Benchmark, table)
    recipe_class = RECIPES.named(p.runs[name].recipe)
    recipe = recipe_class(p.settings_of_run(name), p.seed)
    people = pd.factorize(training.person, sort=True)[0].astype(np.int64)
    if not recipe.supervised:
        people = np.full_like(people, -1)
    cameras = training.camera.to_numpy(np.int64)
    with ranks.together(runtime.device, runtime.backend) as device, own_generators(device):
        # 1. The learner: the pre-trained backbone, and what the recipe adds to it.
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
            batches = RecipeBatches(
                recipe, images, people, cameras, p.seed, ranks.rank(), ranks.size()
            )
            learner = recipe.learner(network, people)
            steps = recipe.steps(people)
        except ValueError as error:
            raise CionError(f"finetune.runs.{name}, on {table}: {error}") from None
        if recipe.every is None:
            rows, instances = batches.sampler(0)
            check_shares(f"finetune.{recipe.name}: a batch of", len(rows), instances)

        # 2. What tells this run from others, and so names the folder of its checkpoints.
        tags = {
            "method": method,
            "backbone": backbone,
            "run": name,
            "recipe": recipe.name,
            "benchmark": p.runs[name].on,
        }
        settings = {**tags, "seed": p.seed, "settings": recipe.settings.model_dump()}
        key = work.key({**settings, "images": training.sha256.tolist()}, source / start.WEIGHTS)
        ranks.check_equal("the images, the pre-trained weights and the settings", key)
        checkpoints = Checkpoints(work.folder("finetune", key))

        # 3. The training, which the first process shows and records.
        main = ranks.rank() == 0
        recording = nullcontext()
        if main:
            beside = f", {ranks.size()} processes" if ranks.size() > 1 else ""
            whom = f" of {people.max() + 1} people" if recipe.supervised else ", without labels"
            what = f"{backbone} after {method} by {recipe.name}, on {len(training)} images{whom}"
            say(f"run {name}: {what}, on {device}{beside}")
            recording = tracking.run("finetune", f"{pretrained}-{name}", key, settings, tags)
        with recording as record:
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

            # 4. The model folder. The model is a fresh one, not compiled and not synchronised.
            described = {**settings, "runtime": describe_runtime(runtime, device)}
            card = _make_card(recipe, card, described)
            model = recipe.inference(card).eval()
            mismatch = f"{recipe.name}: what it trained is not its inference module"
            put(model, learner.kept_network.state_dict(), mismatch)
            card = replace(card, num_features=model.num_features)
            out = root / "finetune" / name / pretrained
            with work.replaced(out) as folder:
                zoo.save(folder, model, card)
                pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
            work.write_json(
                root / "costs/finetune" / name / f"{pretrained}.json",
                describe_cost(seconds, device),
            )
            record.artifact(out / "history.csv")
            record.model(model, np.zeros((1, 3, *card.image), np.float32), asdict(card))
    shutil.rmtree(checkpoints.folder)


def _make_card(recipe: Recipe, card: zoo.Card, described: dict) -> zoo.Card:
    """The card of a fine-tuned model: how its images are prepared, and what it has seen.

    Of what it has seen it has `sources`: the benchmarks that it was trained on, one after another;
    `labels`: whether any of its trainings used labels; `supervised`: whether the last one did.

    Args:
        recipe: of the last training.
        card: of the model that the training began with.
        described: the last training's settings.
    """
    before = card.extra.get(FINETUNED, {"sources": [], "labels": False})
    seen = {
        "sources": [*before["sources"], described["benchmark"]],
        "supervised": recipe.supervised,
        "labels": before["labels"] or recipe.supervised,
    }
    extra = {**card.extra, FINETUNED: {**described, **seen}}
    return replace(
        card,
        image=recipe.size,
        mean=recipe.mean,
        std=recipe.std,
        resize=recipe.resizing[1],
        built_by=recipe.built_by(),
        extra=extra,
    )
