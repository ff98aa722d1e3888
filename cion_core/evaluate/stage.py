"""The evaluate stage: one model on one benchmark.

The model is as pre-training left it, or a run of fine-tuning.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from cion_core import tables, tracking, work
from cion_core.benchmark.labels import Labels
from cion_core.embed.embedders.base import Embedder
from cion_core.embed.model import MODELS, load_embedder
from cion_core.errors import CionError
from cion_core.evaluate import cameras, cost, openset, queries, ranking
from cion_core.evaluate.features import embed, forget
from cion_core.evaluate.settings import Evaluate
from cion_core.progress import say
from cion_core.runtime import Runtime
from cion_core.zoo import card as cards

ABOUT = "method.json"  # what a report says of a method, and how it draws it
# Columns of the row that a run in MLflow is found by.
TAGS = ("method", "backbone", "run", "recipe", "benchmark", "setting")


def run(
    p: Evaluate,
    benchmark: str,
    method: str,
    backbone: str = "",
    state: str = cards.FROZEN,
    runtime: Runtime = Runtime(),
    root: Path = Path("data"),
) -> None:
    """Write root/evaluate/BENCHMARK/STATE/METHOD-BACKBONE, and log to MLflow.

    metrics.json is its row of the comparison, cost.json what the model costs (`cost.counted`),
    method.json what a report says of the method, queries.parquet the scores of each query,
    ranked.parquet the first ranks of some, search.json open-set rates, cameras.json pairs of
    cameras. How long an image takes is written into
    root/costs/evaluate/BENCHMARK/STATE/METHOD-BACKBONE.json.

    `state` is a run of fine-tuning, or frozen: as pre-training left it. Without a backbone `method`
    is a model folder below models/, such as stripes, which is evaluated as it is.
    """
    # Step 1: the images, and the model with what is known of it.
    images_path = root / "benchmark" / benchmark / "images.parquet"
    images = tables.read(tables.Benchmark, images_path)
    name = "-".join(filter(None, [method, backbone]))
    folder = about_folder = MODELS / method
    if backbone:
        about_folder = root / "pretrain" / name
        folder = about_folder if state == cards.FROZEN else root / "finetune" / state / name
    embedder = load_embedder(folder, runtime)
    about = _about(about_folder, embedder)
    extra = cards.read_json(folder).get("extra", {})
    row = {
        "method": method,
        "backbone": backbone or "none",
        **described(extra.get(cards.FINETUNED), benchmark),
        "benchmark": benchmark,
    }

    # Step 2: measure, write and record.
    out = root / "evaluate" / benchmark / state / name
    settings = {**row, **p.model_dump()}
    key = work.key({**settings, "weights": embedder.weights}, images_path)
    tags = {tag: row[tag] for tag in TAGS}
    with tracking.run("evaluate", f"{name}-{state}-{benchmark}", key, settings, tags) as record:
        found = measure(embedder, images, p, runtime, f"evaluate {name} {state} on {benchmark}")
        row |= found.numbers
        tables.write(tables.Ranked, found.ranked, out / "ranked.parquet")
        tables.write(tables.Queries, found.queries, out / "queries.parquet")
        work.write_json(out / ABOUT, about)
        work.write_json(out / "search.json", found.search)
        work.write_json(out / "cameras.json", found.cameras)
        work.write_json(out / "cost.json", costs(embedder))
        work.write_json(out / "metrics.json", row)
        took = {
            "milliseconds": round(cost.milliseconds(embedder), 3),
            "device": torch.device(embedder.device).type,
        }
        work.write_json(root / "costs/evaluate" / benchmark / state / f"{name}.json", took)
        record.metrics(found.numbers)
        record.table([row], "evaluation.json")
        told = ", ".join(f"{metric} {value:.1f}" for metric, value in found.numbers.items())
        say(f"{name} {row['setting']} on {benchmark}: {told}")
    for part in _split(images):
        forget(embedder, part["path"].to_list(), runtime.batch, p.flip)


def described(told: dict | None, benchmark: str) -> dict[str, str]:
    """What was done to a model, for a row of the comparison.

    Args:
        told: what fine-tuning wrote into the model's card; None where there was none.
        benchmark: the one that it is evaluated on.

    Returns:
        `run` and `recipe` of fine-tuning; `source`, the benchmarks whose images it was trained on,
        one after another; and `setting`:

            frozen        no benchmark's image was seen
            finetuned     trained on this one's people
            unsupervised  trained on this one's images, nobody having said who is on any image
            adapted       the same, after training on another one's people
            transferred   trained on others alone
    """
    if told is None:
        return {"run": cards.FROZEN, "recipe": "", "source": "", "setting": cards.FROZEN}
    if told["sources"][-1] != benchmark:
        setting = "transferred"
    elif told["supervised"]:
        setting = "finetuned"
    else:
        setting = "adapted" if told["labels"] else "unsupervised"
    return {
        "run": told["run"],
        "recipe": told["recipe"],
        "source": " → ".join(told["sources"]),
        "setting": setting,
    }


def costs(embedder: Embedder) -> dict[str, int]:
    """`cost.counted` of what an embedder runs; zeros where nothing in it is learnt."""
    if embedder.network is None:
        return {"parameters": 0, "flops": 0}
    return cost.counted(embedder.network, embedder.size)


@dataclass(frozen=True)
class Measured:
    """What one evaluation found.

    Attributes:
        numbers: each of `metrics.METRICS`, in percent.
        ranked: a tables.Ranked.
        queries: a tables.Queries.
        search: what search.json holds: `openset.identification` and `openset.verification`.
        cameras: what cameras.json holds: `cameras.score_pairs`.
    """

    numbers: dict[str, float]
    ranked: pd.DataFrame
    queries: pd.DataFrame
    search: dict
    cameras: list[dict]


def measure(
    embedder: Embedder, images: pd.DataFrame, p: Evaluate, runtime: Runtime, what: str
) -> Measured:
    """Embed a benchmark, and search its gallery for every query.

    Args:
        embedder: the model.
        images: a tables.Benchmark.
        p: how it is searched.
        runtime: how many images are embedded at a time.
        what: what is done, in words, beside the progress bar.
    """
    # 1. Features.
    query, gallery = _split(images)
    features = []
    for part, split in ((query, "queries"), (gallery, "gallery")):
        paths, digests = part["path"].to_list(), part["sha256"].to_list()
        features.append(embed(embedder, paths, digests, runtime.batch, f"{what}: {split}", p.flip))

    # 2. Distances. Open-set search goes by the plain ones, whatever `p.rerank` says.
    plain = ranking.Distances(*features, device=embedder.device)
    distances = plain
    if p.rerank:
        distances = ranking.Distances(*features, reranking=True, device=embedder.device)

    # 3. What they are worth.
    who = Labels.of(query), Labels.of(gallery)
    query_path, gallery_path = (part["path"].to_numpy(object) for part in (query, gallery))
    found = ranking.score_queries(distances, *who)
    searches = openset.search(plain, *who)
    shown = ranking.sample_queries(*who)
    return Measured(
        numbers={metric: round(value, 2) for metric, value in found.summary().items()},
        ranked=ranking.ranked_lists(distances, *who, shown, query_path, gallery_path),
        queries=queries.to_table(found, query_path, who[0].person),
        search={
            "identification": openset.identification(searches),
            "verification": openset.verification(searches),
        },
        cameras=cameras.score_pairs(distances, *who),
    )


def _split(images: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The queries and the gallery of a tables.Benchmark."""
    return images[images.split == "query"], images[images.split == "gallery"]


def _about(folder: Path, embedder: Embedder) -> dict:
    """What a report says of a model: its name, about, style and phases.

    Args:
        folder: where pre-training wrote it down; a folder in models/ has it of its embedder.
        embedder: the model.
    """
    if folder.parent == MODELS:
        style = embedder.style and {"colour": embedder.style.colour, "dash": embedder.style.dash}
        return {"name": embedder.model, "about": embedder.about, "style": style, "phases": []}
    path = folder / ABOUT
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CionError(
            f"{path}: no such file; the stage that writes it has not run (`dvc repro`)"
        ) from None
