"""The evaluate stage: one model on the benchmark, frozen and fine-tuned."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import params, tables, tracking, work
from cion_core.embed import Embedder, embed, load_embedder
from cion_core.evaluate import protocol
from cion_core.benchmark.stage import labels
from cion_core.images import read_image
from cion_core.progress import say

STRIPES = "stripes"


def run(p: params.Evaluate, method: str, backbone: str = "", root: Path = Path("data")) -> None:
    """Write root/evaluate/METHOD-BACKBONE (or stripes): metrics.json and ranked-SETTING.parquet; log to MLflow."""
    images = tables.read(tables.Benchmark, root / "benchmark/images.parquet")
    benchmark = json.loads((root / "benchmark/benchmark.json").read_text())["name"]
    if method == STRIPES:
        name, backbone, folders = STRIPES, "none", {"frozen": Path("models") / STRIPES}
    else:
        name = f"{method}-{backbone}"
        folders = {"frozen": root / "pretrain" / name, "finetuned": root / "finetune" / name}
    embedders = {setting: load_embedder(folder, p.device, p.batch) for setting, folder in folders.items()}
    weights = {setting: embedder.weights for setting, embedder in embedders.items()}

    out = root / "evaluate" / name
    settings = {"method": method, "backbone": backbone, "benchmark": benchmark, "rerank": p.rerank}
    key = work.key({**settings, "weights": weights}, root / "benchmark/images.parquet")
    with tracking.run("evaluate", name, key, settings) as record:
        rows = []
        for setting, embedder in embedders.items():
            numbers, lists = measure(embedder, images, p, f"evaluate {name} {setting}")
            tables.write(tables.Ranked, lists, out / f"ranked-{setting}.parquet")
            rows.append({"method": method, "backbone": backbone, "setting": setting, "benchmark": benchmark, **numbers})
            record.metrics({f"{setting}/{metric}": value for metric, value in numbers.items()})
            say(f"{name} {setting} on {benchmark}: " + ", ".join(f"{k} {v:.1f}" for k, v in numbers.items()))
        record.table(rows, "evaluation.json")
        work.write_json(out / "metrics.json", rows)


def measure(
    embedder: Embedder, images: pd.DataFrame, p: params.Evaluate, what: str
) -> tuple[dict[str, float], pd.DataFrame]:
    """mAP, rank1, rank5, rank10, mINP in percent, and the ranked lists (tables.Ranked), on tables.Benchmark."""
    query, gallery = (images[images.split == split] for split in ("query", "gallery"))
    features = []
    for part, split in ((query, "queries"), (gallery, "gallery")):
        read = partial(_read_row, part["path"].to_list())
        features.append(embed(embedder, read, len(part), p.batch, f"{what}: {split}"))
    who = labels(query), labels(gallery)
    distances = protocol.Distances(*features, reranking=p.rerank)
    numbers = protocol.scores(distances, *who).summary()
    lists = protocol.ranked(
        distances, *who, protocol.sample(*who), query["path"].to_numpy(object), gallery["path"].to_numpy(object)
    )
    return {metric: round(value, 2) for metric, value in numbers.items()}, lists


def _read_row(paths: list[str], row: int) -> np.ndarray:
    return read_image(paths[row])
