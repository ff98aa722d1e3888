"""Made-up benchmarks, trainings and evaluations: four methods, two benchmarks and three runs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from made_footage import person

from cion_core import tables, work
from cion_core.evaluate import openset, queries
from cion_core.evaluate.metrics import Scores
from cion_core.evaluate.stage import described

BACKBONE = "resnet10_ibn"
METHODS = ("random", "dino", "tracklet", "cion")
BENCHMARKS = {"demo": "demo", "elsewhere": "demo/elsewhere"}
RUNS = {  # as params.yaml has them, and what their models' cards would say
    "supervised": {"recipe": "bag_of_tricks", "on": "demo", "from": "pretrain"},
    "unsupervised": {"recipe": "bag_of_tricks", "on": "elsewhere", "from": "pretrain"},
    "adapted": {"recipe": "bag_of_tricks", "on": "elsewhere", "from": "finetune/supervised"},
}
CARDS = {
    "frozen": None,
    "supervised": {"sources": ["demo"], "supervised": True, "labels": True},
    "unsupervised": {"sources": ["elsewhere"], "supervised": False, "labels": False},
    "adapted": {"sources": ["demo", "elsewhere"], "supervised": False, "labels": True},
}
# mAP of the frozen models on `demo`.
MAP = {"stripes": 9.876, "random": 14.123456, "dino": 19.12, "tracklet": 28.9, "cion": 29.12}
GAINED = {"frozen": 0.0, "supervised": 30.0, "unsupervised": 10.0, "adapted": 20.0}
PHASES = {"tracklet": [[0.0, 2]], "cion": [[0.0, 2], [0.3, 4]]}


def benchmark(root: Path, rng: np.random.Generator) -> None:
    """Four query people with ten gallery images each on demo; elsewhere is only told of."""
    for split, count in (("query", 1), ("bounding_box_test", 4)):
        (root / "benchmark/demo" / split).mkdir(parents=True)
        for who in range(1, 5):
            for k in range(count):
                path = root / "benchmark/demo" / split / f"{who:04d}_c{k % 2 + 1}s1_{k:06d}_00.jpg"
                cv2.imwrite(str(path), cv2.cvtColor(person(rng, who), cv2.COLOR_RGB2BGR))
    for name, source in BENCHMARKS.items():
        (root / "benchmark" / name).mkdir(exist_ok=True)
        (root / "benchmark" / name / "images.parquet").write_text(
            f"the images of {name}, of which a hash is taken"
        )
        work.write_json(
            root / "benchmark" / name / "benchmark.json",
            {"name": name, "source": source, "people": {"train": 0, "test": 4},
             "images": {"train": 0, "query": 4, "gallery": 16}, "cameras": 2},
        )  # fmt: skip


def training(root: Path, rng: np.random.Generator) -> None:
    """Histories of every training and evaluations of every model.

    They get better from one method to the next.
    """
    for i, method in enumerate(METHODS):
        for stage in ("pretrain", *(f"finetune/{run}" for run in RUNS)):
            if (stage, method) == ("pretrain", "random"):
                continue
            steps = np.arange(1, 41)
            history = pd.DataFrame(
                {"step": steps, "loss": 7 - i - steps / 20 + rng.normal(0, 0.1, 40), "lr": 0.001}
            )
            (root / stage / f"{method}-{BACKBONE}").mkdir(parents=True)
            history.to_csv(root / stage / f"{method}-{BACKBONE}" / "history.csv", index=False)
    for method in METHODS:
        cost(root, method)
    for name in BENCHMARKS:
        evaluated(root, name, "frozen", "stripes", "none")
        for run in CARDS:
            for method in METHODS:
                evaluated(root, name, run, method, BACKBONE)


def cost(root: Path, method: str) -> None:
    """The card of a pre-trained model, as far as costs need it, and times of its trainings."""
    name, saw = (
        f"{method}-{BACKBONE}",
        {"dino": {"images": 207}, "tracklet": {"images": 207, "identities": 18}},
    )
    saw["cion"] = {"images": 207, "identities": 12}
    steps = 0 if method == "random" else 700
    work.write_json(
        root / f"pretrain/{name}/card.json",
        {"extra": {"steps": steps, "batch": 32, **saw.get(method, {})}},
    )
    for folder, seconds in {
        "pretrain": steps / 2,
        **{f"finetune/{run}": 90 for run in RUNS},
    }.items():
        work.write_json(
            root / f"costs/{folder}/{name}.json",
            {"seconds": seconds, "device": "cpu", "processes": 2},
        )


def evaluated(root: Path, benchmark: str, run: str, method: str, backbone: str) -> None:
    """What the evaluate stage leaves of one model.

    On other benchmarks it finds a tenth less, after a run GAINED more, or 3 where that was not
    trained for the benchmark.

    Whom `tracklet` finds is not whom the others find, so that it is not told apart from `cion` by
    the queries.
    """
    folder = (
        root
        / "evaluate"
        / benchmark
        / run
        / (method if backbone == "none" else f"{method}-{backbone}")
    )
    card = CARDS[run] and {"run": run, "recipe": RUNS[run]["recipe"], **CARDS[run]}
    what = {
        "method": method,
        "backbone": backbone,
        **described(card, benchmark),
        "benchmark": benchmark,
    }
    gained = 3.0 if what["setting"] == "transferred" else GAINED[run]
    mean = (MAP[method] + gained) * (0.9 if benchmark == "elsewhere" else 1.0)
    scores, people = scored(mean, shift=method == "tracklet")
    table = queries.to_table(
        scores, np.array([f"{person}-{k}.jpg" for k, person in enumerate(people)], object), people
    )
    tables.write(tables.Queries, table, folder / "queries.parquet")
    counted = (
        {"parameters": 0, "flops": 0}
        if backbone == "none"
        else {"parameters": 4_921_408, "flops": 112_000_000}
    )
    work.write_json(folder / "metrics.json", what | scores.summary())
    work.write_json(folder / "cost.json", counted)
    took = {"milliseconds": 0.4 if backbone == "none" else 3.25, "device": "cpu"}
    work.write_json(
        root / "costs/evaluate" / folder.relative_to(root / "evaluate").with_suffix(".json"), took
    )
    about(folder, method, PHASES.get(method, [] if method == "stripes" else [[0.0, 1]]))
    images = root / "benchmark/demo"
    lists = ranked(
        sorted((images / "query").glob("*.jpg")),
        sorted((images / "bounding_box_test").glob("*.jpg")),
        right_first=method == "cion",
    )
    tables.write(tables.Ranked, lists, folder / "ranked.parquet")
    rng = np.random.default_rng(0)
    nothing = np.zeros(openset.BINS, np.int64)
    searches = openset.Searches(
        rng.random(200) - mean / 200, rng.random(200) + 0.2, nothing, nothing
    )
    work.write_json(folder / "search.json", {"identification": openset.identification(searches)})
    pairs = [
        {"query": q, "gallery": g, "queries": 24, "mAP": mean + q, "rank1": mean + g}
        for q, g in ((1, 2), (2, 1))
    ]
    work.write_json(folder / "cameras.json", pairs)


def scored(mean: float, shift: bool) -> tuple[Scores, np.ndarray]:
    """Scores of two queries of each of 24 people, and who is on each query.

    Their mAP is `mean` percent.
    """
    people = np.repeat(np.arange(1, 25), 2)
    ease = np.where((people + shift) // 2 % 2, 1.5, 0.5)
    ap = mean / 100 * ease / ease.mean()
    return Scores(
        ap, ap / 2, np.where(np.arange(48) < 48 * mean / 100, 1, 1 + np.arange(48) % 12)
    ), people


def about(folder: Path, method: str, phases: list) -> None:
    """What a method says of itself; `dino` says nothing of how it is drawn."""
    style = None if method == "dino" else {"colour": "#2f7fe0", "dash": [0, [8, 1.5]]}
    told = {"name": method, "about": f"What {method} does", "style": style, "phases": phases}
    work.write_json(folder / "method.json", told)


def ranked(queries: list[Path], gallery: list[Path], right_first: bool) -> pd.DataFrame:
    """Ten ranks for each query; the four right images come first, or last."""
    rows = []
    for query in queries:
        right = [g for g in gallery if g.name[:4] == query.name[:4]]
        wrong = [g for g in gallery if g.name[:4] != query.name[:4]][:6]
        for rank, image in enumerate(right + wrong if right_first else wrong + right, start=1):
            rows.append(
                {
                    "query": str(query),
                    "rank": rank,
                    "gallery": str(image),
                    "distance": rank / 20,
                    "right": image in right,
                }
            )
    return pd.DataFrame(rows)
