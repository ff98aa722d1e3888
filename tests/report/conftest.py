"""A made-up data folder of every stage before `compare`.

It holds crops, levels, four methods, two benchmarks and three runs.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from cion_core import config, crops, params, project, tables, tracking, work
from cion_core.denoise import state
from cion_core.denoise.linking.nodes import Links
from cion_core.denoise.linking.sliding_range import Range
from cion_core.denoise.linking.space import LinkingSpace
from cion_core.evaluate import openset, queries
from cion_core.evaluate.metrics import Scores
from cion_core.evaluate.stage import described
from cion_core.neighbours import arrays, search

SHIRTS = [
    (200, 60, 60),
    (60, 160, 80),
    (70, 90, 200),
    (210, 180, 60),
    (150, 80, 170),
    (80, 180, 190),
]
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


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """A complete, read-only `data` folder."""
    root = tmp_path_factory.mktemp("report") / "data"
    make(root)
    return root


@pytest.fixture
def make_data():
    """The maker itself, for a test that wants another folder."""
    return make


@pytest.fixture
def copy(data, tmp_path, monkeypatch) -> Path:
    """A copy to write reports into, which records nothing outside but that a page is due."""
    monkeypatch.setattr(
        tracking, "close_parent_run", lambda rows, page, numbers, note: page.read_bytes()
    )
    monkeypatch.setattr(tracking, "show_models", list)
    return Path(shutil.copytree(data, tmp_path / "data"))


@pytest.fixture(scope="session")
def settings() -> project.Params:
    file = Path(__file__).parents[2] / params.FILE
    values = params.read(file)
    values["benchmark"] = {"sources": BENCHMARKS, "layout": "market1501", "market1501": {}}
    values["finetune"] = {"seed": 0, "runs": RUNS, "bag_of_tricks": {}}
    values["pretrain"] |= {"methods": list(METHODS), "backbones": [BACKBONE]}
    return config.checked(values, project.Params, file)


def person(rng: np.random.Generator, who: int) -> np.ndarray:
    """A crop of person `who`: RGB uint8 [80, 32, 3], a shirt and trousers on noise."""
    image = rng.integers(90, 130, (80, 32, 3))
    image[4:16, 12:20] = (225, 190, 160)
    image[16:44, 6:26] = SHIRTS[who % len(SHIRTS)]
    image[44:78, 9:23] = SHIRTS[(who * 5 + 2) % len(SHIRTS)]
    return np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8)


def make(root: Path, truth: bool = True) -> None:
    """Write the fake outputs of every stage from ingest to evaluate.

    The stages are ingest, extract, embed, denoise, audit, benchmark, pretrain, finetune and
    evaluate.
    """
    rng = np.random.default_rng(0)
    table = footage(root, rng)
    denoise(root, table)
    audited(root, table, truth)
    benchmark(root, rng)
    training(root, rng)
    work.write_json(root / "listing/studies.json", {})


def footage(root: Path, rng: np.random.Generator) -> pd.DataFrame:
    """Three videos with six people each, ten crops per tracklet.

    Person 0 of each video has two tracklets.
    """
    rows = []
    for v in range(3):
        video = f"cam{v}/walk.mp4"
        with crops.CropWriter(root / f"tracklets/crops/cam{v}.tar") as writer:
            for t, who in enumerate([0, 1, 2, 3, 4, 5, 0]):
                for k in range(10):
                    # Tracklet 2 runs over to the next person.
                    seen = who if k != 9 or t != 2 else who + 1
                    offset, size = writer.add(f"{t}-{k}", person(rng, seen))
                    frame = t * 5 + k * 4
                    rows.append(
                        {
                            "video": video,
                            "frame": frame,
                            "time_s": frame / 12,
                            "tracklet": v * 7 + t,
                            "x1": 40.0 * t,
                            "y1": 10.0,
                            "x2": 40.0 * t + 32,
                            "y2": 90.0,
                            "confidence": 0.9,
                            "shard": f"cam{v}.tar",
                            "offset": offset,
                            "size": size,
                            "who": who,
                            "k": k,
                            "t": t,
                        }
                    )
    table = pd.DataFrame(rows)
    table.insert(0, "crop", range(len(table)))
    tables.write(
        tables.Crops, table.drop(columns=["who", "k", "t"]), root / "tracklets/crops.parquet"
    )
    table["person"] = table.who + ((table.t == 2) & (table.k == 9))
    embed(root, table.person.to_numpy())
    videos = pd.DataFrame(
        {
            "video": sorted(table.video.unique()),
            "path": "x",
            "sha256": "0" * 64,
            "fps": 12.0,
            "frames": 80,
            "width": 320,
            "height": 240,
            "group": ["cam0", "cam1", "cam2"],
        }
    )
    tables.write(tables.Videos, videos, root / "raw/videos.parquet")
    work.write_json(
        root / "raw/ingest.json",
        {
            "source": "demo",
            "videos": 3,
            "set_aside": [{"video": "cam3/torn.mp4", "reason": "no <frames> decode"}],
        },
    )
    work.write_json(
        root / "tracklets/extract.json",
        {
            "videos": [
                {
                    "video": v,
                    "frames": 80,
                    "frames_claimed": 99,
                    "frames_lost": 19,
                    "frames_damaged": 2,
                    "shots": 3,
                    "tracklets": 7,
                    "crops": 70,
                    "faces_blurred": 4,
                    "kept_out": {"hidden": 2, "nearly equal": 3},
                }
                for v in videos.video
            ],
            "set_aside": [],
            "tracklets": 21,
            "crops": 210,
        },
    )
    return table


def embed(root: Path, people: np.ndarray) -> None:
    """A feature for each crop, of the person shown; 1 and 5 look alike, and are seen together."""
    rng = np.random.default_rng(1)
    looks = rng.normal(size=(6, 8))
    looks[5] = looks[1] + 0.1 * rng.normal(size=8)
    (root / "embeddings").mkdir(parents=True)
    features = looks[people] + 0.05 * rng.normal(size=(len(people), 8))
    np.save(root / "embeddings/features.npy", features.astype(np.float32))


def denoise(root: Path, table: pd.DataFrame) -> None:
    """Level 1 drops the strays of tracklet 2, level 2 merges the two of person 0.

    Level 3 links across videos.
    """
    stray = (table.t == 2) & (table.k == 9)
    level1 = pd.Series(np.where(stray, -1, table.tracklet), table.index)
    level2 = level1.where(table.t != 6, table.tracklet - 6)
    # The stray is a crop of the next person: moved there.
    level2 = level2.where(~stray, table.tracklet + 1)
    level3 = (level2 % 7).where(level2 % 7 < 3, level2)
    before = table.tracklet
    for level, after in zip(tables.LEVELS, (level1, level2, level3), strict=True):
        together = after < 3 if level == "cross_video" else after != before
        action = np.where(together, "linked" if level == "cross_video" else "merged", "kept")
        action = np.where(before == -1, "moved", action)
        action = np.where(after == -1, "dropped", action)
        rule = np.where(action == "merged", "separation", "radius")
        ledger = pd.DataFrame(
            {
                "crop": table.crop,
                "level": level,
                "action": action,
                "other": -1,
                "distance": np.where(action == "kept", np.nan, 0.31),
                "limit": 0.21,
                "probability": np.nan,
                "rule": "reciprocal" if level == "cross_video" else rule,
                "from": before,
                "to": after,
            }
        )
        folder = root / "denoise" / level
        tables.write(tables.Ledger, ledger, folder / "ledger.parquet")
        kept = pd.DataFrame({"crop": table.crop, "identity": after})[after >= 0]
        tables.write(tables.Identities, kept, folder / "identities.parquet")
        work.write_json(folder / "audit.json", audit(level, kept, action))
        before = after
    links(root, level2, level3)


def links(root: Path, before: pd.Series, after: pd.Series) -> None:
    """Level 3's nodes, as if its space were the features' own."""
    names, first = np.unique(before[before >= 0], return_index=True)
    groups = np.searchsorted(names, before)
    points = arrays.centroids(
        arrays.unit(np.load(root / "embeddings/features.npy")), groups, len(names)
    )
    nobody = sparse.csr_matrix((len(names), len(names)), dtype=bool)
    index = search.neighbours(points)
    identity = after[before >= 0].to_numpy()[first]
    kept = {"index": index, **LinkingSpace(None, ()).arrays()}
    positions = Range(12, 6).bounds(len(names))  # 0 to 11 and, of 18 nodes, 6 to 17
    found = Links("reciprocal", names, identity, points, nobody, kept, positions=positions)
    state.write_links(found, root / "denoise/cross_video/links.npz")


def audit(level: str, kept: pd.DataFrame, action: np.ndarray) -> dict:
    """What a level writes of itself."""

    def noise(outside: int) -> dict:
        return {"outside": outside, "close_pairs": 20 + outside if i else None}

    def curve(threshold: float) -> dict:
        points = [
            {"threshold": t / 10, "positives": min(1, t / 4), "negatives": t / 10}
            for t in range(11)
        ]
        return {"threshold": threshold, "how": "holds 95% of the crops", "points": points}

    def pairs(threshold: float) -> dict:
        points = [{"threshold": t / 10, "pairs": t / 10} for t in range(11)]
        return {"threshold": threshold, "how": "of which chance may explain 10%", "points": points}

    i = tables.LEVELS.index(level)
    return {
        "level": level,
        "crops": len(kept),
        "tracklets": 21,
        "identities": int(kept.identity.nunique()),
        "radius": 0.21,
        "separation": None if i == 0 else 0.15,
        "cut": 1.5 if i == 0 else None,
        "noise": {"before": noise(9 - i), "after": noise(0)},
        "actions": {a: int((action == a).sum()) for a in tables.ACTIONS},
        "calibration": (
            {},
            {"radius": curve(0.21), "separation": pairs(0.15)},
            {"radius": curve(0.21)},
        )[i]
        or None,
    }


def audited(root: Path, table: pd.DataFrame, truth: bool) -> None:
    """The audit's outputs: scores that rise by level, no planted errors, who is on each crop."""

    def scores(at: float) -> dict:
        three = {"precision": 1 - at / 10, "recall": at, "f1": (1 + at) / 2}
        return {"crops": three, "tracklets": three, "bcubed": three}

    levels = {
        level: {"before": scores(0.2 + i / 10), "after": scores(0.3 + i / 10)}
        for i, level in enumerate(tables.LEVELS)
    }
    work.write_json(root / "audit/truth.json", {"levels": levels} if truth else None)
    work.write_json(root / "audit/planted.json", None)
    people = table[["crop", "person"]] if truth else tables.empty(tables.People)
    tables.write(tables.People, people, root / "audit/people.parquet")


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
