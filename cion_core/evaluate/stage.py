"""The evaluate stage: one model on the benchmark, frozen and fine-tuned."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from cion_core import tables, tracking, work
from cion_core.benchmark.labels import labels
from cion_core.embed.embedders.base import Embedder
from cion_core.embed.model import MODELS, load_embedder
from cion_core.errors import CionError
from cion_core.evaluate import protocol
from cion_core.evaluate.features import embed, forget
from cion_core.evaluate.settings import Evaluate
from cion_core.progress import say
from cion_core.runtime import Runtime

ABOUT = "method.json"  # what a report says of a method, and how it draws it


def run(p: Evaluate, method: str, backbone: str = "", runtime: Runtime = Runtime(), root: Path = Path("data")) -> None:
    """Write root/evaluate/METHOD-BACKBONE: metrics.json, method.json and ranked-SETTING.parquet; log to MLflow.

    With a backbone: what pre-training and fine-tuning made of it. Without one `method` is a model folder below models/,
    such as stripes, which is evaluated as it is, into root/evaluate/METHOD.
    """
    images = tables.read(tables.Benchmark, root / "benchmark/images.parquet")
    benchmark = json.loads((root / "benchmark/benchmark.json").read_text())["name"]
    if backbone:
        name = f"{method}-{backbone}"
        folders = {"frozen": root / "pretrain" / name, "finetuned": root / "finetune" / name}
    else:
        name, backbone, folders = method, "none", {"frozen": MODELS / method}
    embedders = {setting: load_embedder(folder, runtime) for setting, folder in folders.items()}
    weights = {setting: embedder.weights for setting, embedder in embedders.items()}
    about = _about(folders["frozen"], embedders["frozen"])

    out = root / "evaluate" / name
    settings = {"method": method, "backbone": backbone, "benchmark": benchmark, "rerank": p.rerank}
    key = work.key({**settings, "weights": weights}, root / "benchmark/images.parquet")
    with tracking.run("evaluate", name, key, settings) as record:
        rows = []
        for setting, embedder in embedders.items():
            numbers, lists = measure(embedder, images, p, runtime, f"evaluate {name} {setting}")
            tables.write(tables.Ranked, lists, out / f"ranked-{setting}.parquet")
            rows.append({"method": method, "backbone": backbone, "setting": setting, "benchmark": benchmark, **numbers})
            record.metrics({f"{setting}/{metric}": value for metric, value in numbers.items()})
            say(f"{name} {setting} on {benchmark}: " + ", ".join(f"{k} {v:.1f}" for k, v in numbers.items()))
        record.table(rows, "evaluation.json")
        work.write_json(out / ABOUT, about)
        work.write_json(out / "metrics.json", rows)
    forget()


def measure(
    embedder: Embedder, images: pd.DataFrame, p: Evaluate, runtime: Runtime, what: str
) -> tuple[dict[str, float], pd.DataFrame]:
    """mAP, rank1, rank5, rank10, mINP in percent, and the ranked lists (tables.Ranked), on tables.Benchmark."""
    query, gallery = (images[images.split == split] for split in ("query", "gallery"))
    features = []
    for part, split in ((query, "queries"), (gallery, "gallery")):
        features.append(embed(embedder, part["path"].to_list(), runtime.batch, f"{what}: {split}"))
    who = labels(query), labels(gallery)
    distances = protocol.Distances(*features, reranking=p.rerank, device=embedder.device)
    numbers = protocol.scores(distances, *who).summary()
    lists = protocol.ranked(
        distances, *who, protocol.sample(*who), query["path"].to_numpy(object), gallery["path"].to_numpy(object)
    )
    return {metric: round(value, 2) for metric, value in numbers.items()}, lists


def _about(folder: Path, embedder: Embedder) -> dict:
    """{name, about, style, phases} of a model: as pre-training wrote it, or of its embedder where none was trained."""
    if folder.parent == MODELS:
        style = embedder.style and {"colour": embedder.style.colour, "dash": embedder.style.dash}
        return {"name": embedder.model, "about": embedder.about, "style": style, "phases": []}
    path = folder / ABOUT
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise CionError(f"{path}: no such file; the stage that writes it has not run (`dvc repro`)") from None
