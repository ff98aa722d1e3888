"""Made-up outputs of the stages from ingest to audit: footage, crops and levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from cion_core import crops, tables, work
from cion_core.denoise import state
from cion_core.denoise.linking.nodes import LinkRecord
from cion_core.denoise.linking.sliding_range import Range
from cion_core.denoise.linking.space import LinkingSpace
from cion_core.neighbours import arrays, search

SHIRTS = [
    (200, 60, 60),
    (60, 160, 80),
    (70, 90, 200),
    (210, 180, 60),
    (150, 80, 170),
    (80, 180, 190),
]


def person(rng: np.random.Generator, who: int) -> np.ndarray:
    """A crop of person `who`: RGB uint8 [80, 32, 3], a shirt and trousers on noise."""
    image = rng.integers(90, 130, (80, 32, 3))
    image[4:16, 12:20] = (225, 190, 160)
    image[16:44, 6:26] = SHIRTS[who % len(SHIRTS)]
    image[44:78, 9:23] = SHIRTS[(who * 5 + 2) % len(SHIRTS)]
    return np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8)


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
    found = LinkRecord("reciprocal", names, identity, points, nobody, kept, positions=positions)
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
