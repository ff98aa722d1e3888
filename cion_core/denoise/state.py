"""Levels as files: what the stages write, and what of an earlier result still holds when videos were added."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from cion_core import tables, work
from cion_core.denoise.checks import PART, SHOWN
from cion_core.denoise.linking import progress
from cion_core.denoise.linking.calibration import Calibration
from cion_core.denoise.linking.nodes import Links
from cion_core.denoise.linking.rules import RULES
from cion_core.denoise.noise import Noise
from cion_core.denoise.result import Denoised, Level
from cion_core.denoise.settings import Settings, Thresholds
from cion_core.errors import CionError
from cion_core.neighbours.arrays import run_starts

ANEW = "denoise.earlier: null denoises all anew"
VIDEOS = "videos.parquet"  # written last and removed first: what it lists, the other files hold
CODE = [*sorted(Path(__file__).parent.glob("*.py")), *progress.CODE]  # what other code left is not gone on from
LINKS = ("names", "identity", "points", "merges", "distance", "probability", "positions")  # arrays of links.npz
KEPT = "kept_"  # before the names of what a linking rule keeps
LOCAL = ["crop", "frame", "tracklet", "x1", "y1", "x2", "y2", "confidence", "sharpness", "shot"]  # all that decides


def write(level: Level, crops: pd.DataFrame, story: dict, videos: pd.DataFrame, folder: Path) -> None:
    """Write identities.parquet, ledger.parquet, audit.json (`story`), links.npz of level 3, and `videos`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / VIDEOS).unlink(missing_ok=True)
    kept = level.labels >= 0
    identities = pd.DataFrame({"crop": crops.crop[kept], "identity": level.labels[kept]})
    tables.write(tables.Identities, identities, folder / "identities.parquet")
    tables.write(tables.Ledger, level.ledger, folder / "ledger.parquet")
    work.write_json(folder / "audit.json", story)
    if level.links:
        write_links(level.links, folder / "links.npz")
    with work.atomic(folder / VIDEOS) as temporary:
        videos.to_parquet(temporary, index=False)


def read(folder: Path, name: str, labels: np.ndarray) -> Level:
    """A level from its files; labels int64 [N]: as `read_labels` of them. CionError names what is missing."""
    links = read_links(folder / "links.npz") if name == tables.LEVELS[-1] else None
    return _level(name, labels, tables.read(tables.Ledger, folder / "ledger.parquet"), read_story(folder), links)


def _level(name: str, labels: np.ndarray, ledger: pd.DataFrame, story: dict, links: Links | None) -> Level:
    """A level whose audit is `story`."""
    return Level(
        name=name,
        labels=labels,
        ledger=ledger,
        thresholds=Thresholds(story["radius"], story["separation"], story["cut"]),
        before=Noise(**story["noise"]["before"]),
        after=Noise(**story["noise"]["after"]),
        calibration={kind: Calibration(**curve) for kind, curve in (story["calibration"] or {}).items()},
        links=links,
    )


def read_labels(folder: Path, crops: np.ndarray) -> np.ndarray:
    """The identity of each of `crops` (numbers, int64 [N]) by identities.parquet, int64 [N], -1: none."""
    path = folder / "identities.parquet"
    identities = tables.read(tables.Identities, path)
    place = pd.Index(crops).get_indexer(identities.crop)
    if (place < 0).any():
        strange = identities.crop[place < 0].tolist()[:5]
        raise CionError(f"{path}: crops {strange} are not in crops.parquet; denoise again (`dvc repro`)")
    labels = np.full(len(crops), -1, np.int64)
    labels[place] = identities.identity
    return labels


def read_story(folder: Path) -> dict:
    """audit.json."""
    try:
        return json.loads((folder / "audit.json").read_text())
    except FileNotFoundError:
        raise CionError(
            f"{folder / 'audit.json'}: no such file; denoise {folder.name} has not run (`dvc repro`)"
        ) from None


def write_links(links: Links, path: Path) -> None:
    """Links as arrays, compressed by nothing: most are floats. What the rule keeps has names of its own."""
    pairs = sparse.triu(links.forbidden, 1, "coo")
    arrays = {
        "rule": np.array(links.rule), "names": links.names, "identity": links.identity, "points": links.points,
        "forbidden": np.stack([pairs.row, pairs.col]), "merges": links.merges, "distance": links.distance,
        "probability": links.probability, "positions": links.positions,
    }  # fmt: skip
    with work.atomic(path) as temporary:
        np.savez(temporary, **arrays, **{f"{KEPT}{name}": array for name, array in links.kept.items()})


def read_links(path: Path) -> Links:
    """As `write_links` wrote them."""
    try:
        with np.load(path) as file:
            arrays = dict(file)
    except FileNotFoundError:
        raise CionError(f"{path}: no such file; denoise cross_video has not run (`dvc repro`)") from None
    for name, what in {"rule": "name of a linking rule", "merges": "merges", "positions": "positions"}.items():
        if name not in arrays:
            raise CionError(f"{path}: holds no {what}, so another version wrote it; denoise again")
    n, (i, j) = len(arrays["names"]), arrays["forbidden"]
    half = sparse.csr_matrix((np.ones(len(i), bool), (i, j)), shape=(n, n))
    kept = {name.removeprefix(KEPT): array for name, array in arrays.items() if name.startswith(KEPT)}
    own = {name: arrays[name] for name in LINKS}
    return Links(rule=str(arrays["rule"]), forbidden=(half + half.T).tocsr(), kept=kept, **own)


def made_by(settings: Settings, level: str) -> str:
    """16 hex digits for all that decides about a level but the crops: its settings and this code."""
    rule = RULES.files(settings.linking) if level == tables.LEVELS[-1] else []
    return work.key(settings.of(level), *dict.fromkeys([*CODE, *rule]))


def videos(crops: pd.DataFrame, features: np.ndarray, labels: np.ndarray, made_by: str) -> pd.DataFrame:
    """What a level is given of each video: video, first_crop and first_tracklet (its lowest numbers), a digest, and
    what it is `made_by`.

    crops sorted by crop, row i of features that of row i; labels int64 [N]: the labelling that comes in. Two digests
    agree if the video's crops, features and labels do; numbers count from the lowest, so that they agree, too, where
    videos come before it.
    """
    codes, names = pd.factorize(crops.video, sort=True)
    order = np.argsort(codes, kind="stable")
    rows = []
    columns = [crops[name].to_numpy() for name in LOCAL if name in crops]
    parts = np.split(order, run_starts(codes[order])[1:]) if len(names) else []
    for name, part in zip(names, parts, strict=True):
        values = [column[part] for column in columns]
        firsts = values[0].min(), values[2].min()
        given = labels[part]
        local = [values[0] - firsts[0], values[1], values[2] - firsts[1], *values[3:]]
        first = np.where(given < PART, firsts[1], firsts[0])
        local += [np.where(given < 0, -1, given - first), np.asarray(features[part])]
        digest = hashlib.sha256()
        for array in local:
            digest.update(np.ascontiguousarray(array).data)
        rows.append((str(name), int(firsts[0]), int(firsts[1]), digest.hexdigest()[:32], made_by))
    return pd.DataFrame(rows, columns=["video", "first_crop", "first_tracklet", "digest", "made_by"])


def earlier(folder: Path, name: str, crops: pd.DataFrame, now: pd.DataFrame) -> tuple[Level, np.ndarray]:
    """What the folder holds of the level, of which all videos must be as they were; others may have been added.

    now: `videos` of the crops. Returns the level of the earlier crops, in the numbers that crops and tracklets have
    now, and which crops those are, bool [N]. Raises CionError if it cannot be gone on from.
    """
    if not (folder / VIDEOS).is_file():
        raise CionError(f"denoise.earlier: {folder / VIDEOS}: no such file; it must be a copy of data/denoise; {ANEW}")
    then = pd.read_parquet(folder / VIDEOS)
    if list(then) != list(now) or (then.made_by != now.made_by.iloc[0]).any():
        raise CionError(f"denoise.earlier: {folder}: made by other code or with other settings of the level; {ANEW}")
    both = then.merge(now, on="video", how="left", suffixes=("_then", "_now"))
    other = both[both.digest_then != both.digest_now]
    if len(other):
        fate = np.where(other.digest_now.isna(), "gone", "changed")
        told = ", ".join(f"{video} ({what})" for video, what in zip(other.video[:SHOWN], fate, strict=False))
        raise CionError(f"denoise.earlier: {folder}: {len(other)} of its videos are not as they were: {told}; {ANEW}")
    both = both.set_index("video")
    known = crops.video.isin(both.index).to_numpy()
    some = crops[known]
    shift = {
        kind: some.video.astype(str).map(both[f"first_{kind}_then"] - both[f"first_{kind}_now"]).to_numpy(np.int64)
        for kind in ("crop", "tracklet")
    }
    before = some.crop.to_numpy() + shift["crop"]
    level = read(folder, name, read_labels(folder, before))
    if any(move.any() for move in shift.values()):
        tracklets = pd.Series(some.tracklet.to_numpy(), some.tracklet.to_numpy() + shift["tracklet"])
        level = renumbered(level, pd.Series(some.crop.to_numpy(), before), tracklets[~tracklets.index.duplicated()])
    return level, known


def renumbered(level: Level, crops: pd.Series, tracklets: pd.Series) -> Level:
    """The level with other numbers for its crops and tracklets (after which identities are named): old -> new."""
    values, names = tracklets.to_numpy(), tracklets.index

    def new(old: np.ndarray) -> np.ndarray:
        place, part = names.get_indexer(old), crops.index.get_indexer(np.asarray(old) - PART)
        whole = np.where(place >= 0, values[place], -1)
        return np.where(part >= 0, PART + crops.to_numpy()[part], whole)

    told = level.ledger.copy()
    place = crops.index.get_indexer(told.crop)
    if (place < 0).any():
        raise CionError(f"ledger of {level.name}: crops that it does not go with, first {told.crop[place < 0].iloc[0]}")
    told["crop"] = crops.to_numpy()[place]
    for column in ("other", "from", "to"):
        told[column] = new(told[column])
    links = level.links and replace(level.links, names=new(level.links.names), identity=new(level.links.identity))
    return replace(level, labels=new(level.labels), ledger=told, links=links)


def write_result(result: Denoised, folder: Path) -> None:
    """earlier.parquet (the crops, and their labels after each level), probe.npz, links.npz, and earlier.json
    (settings), which is written last: with ledger.parquet and audit.json all that `read_result` needs."""
    labels = {f"after_{level.name}": level.labels for level in result.levels}
    with work.atomic(folder / "earlier.parquet") as temporary:
        result.crops.assign(**labels).to_parquet(temporary, index=False)
    with work.atomic(folder / "probe.npz") as temporary:
        np.savez(temporary, probed=result.probed, probe=result.probe)
    write_links(result.levels[-1].links, folder / "links.npz")
    work.write_json(folder / "earlier.json", result.settings.model_dump())


def forget(folder: Path) -> None:
    """Before anything of a result is written over: cut off in the middle, it is not taken for one."""
    (folder / "earlier.json").unlink(missing_ok=True)


def read_result(folder: Path) -> Denoised:
    """The result that `write_result` and `files.write` left in the folder; CionError where one is not all there."""
    try:
        settings = Settings.model_validate(json.loads((folder / "earlier.json").read_text()))
        crops = pd.read_parquet(folder / "earlier.parquet").astype({"video": "category"})
        with np.load(folder / "probe.npz") as file:
            probe = file["probed"], file["probe"]
        stories = json.loads((folder / "audit.json").read_text())
    except FileNotFoundError as error:
        raise CionError(f"{error.filename}: no such file; an earlier --out folder of `cion denoise` holds it") from None
    ledger = tables.read(tables.Ledger, folder / "ledger.parquet")
    levels = []
    for name in tables.LEVELS:
        labels = crops.pop(f"after_{name}").to_numpy()
        own = ledger[ledger.level == name].reset_index(drop=True)
        links = read_links(folder / "links.npz") if name == tables.LEVELS[-1] else None
        levels.append(_level(name, labels, own, stories[name], links))
    return Denoised(tuple(levels), crops, settings, *probe)
