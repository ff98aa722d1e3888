"""The result of denoising as files: one level, all three together, and the links between videos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from cion_core import tables, work
from cion_core.denoise.linking.calibration import Calibration
from cion_core.denoise.linking.nodes import LinkRecord
from cion_core.denoise.noise import Noise
from cion_core.denoise.result import Denoised, Level
from cion_core.denoise.settings import Settings, Thresholds
from cion_core.errors import CionError

# Written last and removed first. If it is there, the other files of its level are whole.
VIDEOS = "videos.parquet"
# The last level alone has links.
LAST = tables.LEVELS[-1]
# The arrays of links.npz, each with its attribute of `LinkRecord`. Beside them: `rule`,
# `forbidden`, and the state of the linking rule.
ARRAYS = {
    "names": "video_identity",
    "identity": "identity",
    "points": "points",
    "merges": "merges",
    "distance": "distance",
    "probability": "probability",
    "positions": "positions",
}
# Begins the names of the arrays that are the state of the linking rule.
OF_RULE = "kept_"
# A file without one of these comes from an older version; what to call the part in the message.
PARTS = {"rule": "name of a linking rule", "merges": "merges", "positions": "positions"}


def write_level(
    level: Level, crops: pd.DataFrame, audit: dict, videos: pd.DataFrame, folder: Path
) -> None:
    """Write identities.parquet, ledger.parquet, audit.json, videos.parquet, and links.npz.

    Args:
        level: what came of the level; one that links videos has links.npz.
        crops: those that the level was given, row i that of `level.labels[i]`.
        audit: what audit.json shall hold (`Level.audit`).
        videos: what the level was given of each video (`unchanged.describe_videos`).
        folder: where the files go; it is made if it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / VIDEOS).unlink(missing_ok=True)

    has_identity = level.labels >= 0
    identities = pd.DataFrame(
        {"crop": crops.crop[has_identity], "identity": level.labels[has_identity]}
    )
    tables.write(tables.Identities, identities, folder / "identities.parquet")
    tables.write(tables.Ledger, level.ledger, folder / "ledger.parquet")
    work.write_json(folder / "audit.json", audit)
    if level.links:
        write_links(level.links, folder / "links.npz")

    with work.atomic(folder / VIDEOS) as temporary:
        videos.to_parquet(temporary, index=False)


def read_level(folder: Path, name: str, labels: np.ndarray) -> Level:
    """A level from its files.

    Args:
        folder: where `write_level` put them.
        name: which of `tables.LEVELS` it is.
        labels: int64 [N], as `read_labels` found them in the same folder.

    Raises:
        CionError: a file is missing, or another version wrote it.
    """
    ledger = tables.read(tables.Ledger, folder / "ledger.parquet")
    audit = read_audit(folder)
    links = read_links(folder / "links.npz") if name == LAST else None
    return _level(name, labels, ledger, audit, links)


def _level(
    name: str, labels: np.ndarray, ledger: pd.DataFrame, audit: dict, links: LinkRecord | None
) -> Level:
    curves = audit["calibration"] or {}
    try:
        calibration = {kind: Calibration(**curve) for kind, curve in curves.items()}
    except TypeError:
        raise CionError(
            f"audit.json of {name}: another version wrote its `calibration`; denoise again"
        ) from None
    return Level(
        name=name,
        labels=labels,
        ledger=ledger,
        thresholds=thresholds(audit),
        before=Noise(**audit["noise"]["before"]),
        after=Noise(**audit["noise"]["after"]),
        calibration=calibration,
        links=links,
    )


def thresholds(audit: dict) -> Thresholds:
    """The thresholds in the contents of an audit.json."""
    return Thresholds(audit["radius"], audit["separation"], audit["cut"])


def read_labels(folder: Path, crops: np.ndarray) -> np.ndarray:
    """The identity of each crop, from identities.parquet.

    Args:
        folder: of one level.
        crops: numbers of all crops, int64 [N].

    Returns:
        int64 [N], -1 where a crop has no identity.

    Raises:
        CionError: the file is missing, or it names crops that are not in `crops`.
    """
    path = folder / "identities.parquet"
    identities = tables.read(tables.Identities, path)
    row = pd.Index(crops).get_indexer(identities.crop)
    unknown = identities.crop[row < 0].tolist()
    if unknown:
        raise CionError(
            f"{path}: crops {unknown[:5]} are not in crops.parquet; denoise again (`dvc repro`)"
        )
    labels = np.full(len(crops), -1, np.int64)
    labels[row] = identities.identity
    return labels


def read_audit(folder: Path) -> dict:
    """The contents of a level's audit.json; CionError if the level has not run."""
    path = folder / "audit.json"
    try:
        return _read_json(path)
    except FileNotFoundError:
        raise CionError(
            f"{path}: no such file; denoise {folder.name} has not run (`dvc repro`)"
        ) from None


def _read_json(path: Path) -> dict:
    text = path.read_text(encoding="utf-8")
    return json.loads(text)


def write_links(links: LinkRecord, path: Path) -> None:
    """Write links as a NumPy archive. It is not compressed: floats hardly would be smaller."""
    pairs = sparse.triu(links.forbidden, 1, "coo")
    arrays = {name: getattr(links, attribute) for name, attribute in ARRAYS.items()}
    arrays["rule"] = np.array(links.rule)
    arrays["forbidden"] = np.stack([pairs.row, pairs.col])
    arrays |= {f"{OF_RULE}{name}": array for name, array in links.rule_state.items()}
    with work.atomic(path) as temporary:
        np.savez(temporary, **arrays)


def read_links(path: Path) -> LinkRecord:
    """Links as `write_links` wrote them; CionError if there are none, or of another version."""
    try:
        with np.load(path) as file:
            arrays = dict(file)
    except FileNotFoundError:
        raise CionError(
            f"{path}: no such file; denoise cross_video has not run (`dvc repro`)"
        ) from None
    for name, what in PARTS.items():
        if name not in arrays:
            raise CionError(f"{path}: holds no {what}, so another version wrote it; denoise again")

    # The file holds each forbidden pair once; the matrix holds it both ways round.
    first, second = arrays["forbidden"]
    nodes = len(arrays["names"])
    ones = np.ones(len(first), bool)
    half = sparse.csr_matrix((ones, (first, second)), shape=(nodes, nodes))
    rule_state = {
        name.removeprefix(OF_RULE): array
        for name, array in arrays.items()
        if name.startswith(OF_RULE)
    }
    return LinkRecord(
        rule=str(arrays["rule"]),
        forbidden=(half + half.T).tocsr(),
        rule_state=rule_state,
        **{attribute: arrays[name] for name, attribute in ARRAYS.items()},
    )


def write_denoised(result: Denoised, folder: Path) -> None:
    """Write what `read_denoised` needs beside ledger.parquet and audit.json.

    That is: earlier.parquet (the crops, with their labels after each level), probe.npz, links.npz,
    and earlier.json (the settings), which comes last and says that the others are whole.
    """
    labels = {f"after_{level.name}": level.labels for level in result.levels}
    with work.atomic(folder / "earlier.parquet") as temporary:
        result.crops.assign(**labels).to_parquet(temporary, index=False)
    with work.atomic(folder / "probe.npz") as temporary:
        np.savez(temporary, probed=result.probed, probe=result.probe)
    write_links(result.levels[-1].links, folder / "links.npz")
    work.write_json(folder / "earlier.json", result.settings.model_dump())


def forget(folder: Path) -> None:
    """Mark a result as not whole. Call this before it is written over, which may be cut short."""
    (folder / "earlier.json").unlink(missing_ok=True)


def read_denoised(folder: Path) -> Denoised:
    """The result that `write_denoised` and `cion denoise --crops` left in a folder.

    Raises:
        CionError: one of its files is missing.
    """
    try:
        settings = Settings.model_validate(_read_json(folder / "earlier.json"))
        crops = pd.read_parquet(folder / "earlier.parquet").astype({"video": "category"})
        with np.load(folder / "probe.npz") as file:
            probed, probe = file["probed"], file["probe"]
        audits = _read_json(folder / "audit.json")
    except FileNotFoundError as error:
        raise CionError(
            f"{error.filename}: no such file; an earlier --out folder of `cion denoise` holds it"
        ) from None
    ledger = tables.read(tables.Ledger, folder / "ledger.parquet")
    levels = []
    for name in tables.LEVELS:
        labels = crops.pop(f"after_{name}").to_numpy()
        own = ledger[ledger.level == name].reset_index(drop=True)
        links = read_links(folder / "links.npz") if name == LAST else None
        levels.append(_level(name, labels, own, audits[name], links))
    return Denoised(tuple(levels), crops, settings, probed, probe)
