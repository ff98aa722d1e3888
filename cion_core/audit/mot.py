"""What trackers are worth, on sequences of the MOT challenge: the command `cion audit tracking`.

The detector and the trackers are those of the extract stage, and so are the frames that they see
and the tracklets that are too short to be kept. HOTA, IDF1 and MOTA are the trackers package's own;
`mot_scores` adds what CION asks for first: whether a tracklet is one person.

A sequence that cannot be used is set aside.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate
from trackers.eval import evaluate_mot_sequences

from cion_core import progress, work
from cion_core.audit import mot_curve, mot_scores
from cion_core.audit.mot_follow import Followed, follow_all
from cion_core.audit.mot_scores import Counts
from cion_core.audit.mot_sequences import (
    BOX,
    PEDESTRIAN,
    Footage,
    find,
    true_boxes,
    true_lines,
)
from cion_core.errors import CionError
from cion_core.extract.detectors import DETECTORS
from cion_core.extract.settings import Extract

METRICS = ["HOTA", "Identity", "CLEAR"]
OVERALL = "all"
COLUMNS = (
    "purity",
    "recall",
    "fragments",
    "mixed",
    "tracklets",
    "HOTA",
    "IDF1",
    "MOTA",
    "switches",
)


def run(
    p: Extract,
    folders: Sequence[Path],
    trackers: Sequence[str],
    out: Path | None = None,
    curve: Path | None = None,
) -> str:
    """Score trackers on every sequence of `folders`.

    Args:
        p: The section `extract`: the detector, and the settings of the trackers.
        folders: Sequences (gt/gt.txt, seqinfo.ini, img1/), folders of them, or a world to render.
        trackers: Names of trackers; none: `extract.tracker`.
        out: A JSON file for the same numbers.
        curve: A picture of purity against recall; each tracker is scored at several overlaps for
            it.

    Returns:
        The table for a terminal.

    Raises:
        CionError: There is no sequence, or one cannot be used; it names the file.
    """
    footage = [one for folder in folders for one in find(folder)]
    names = trackers or [p.tracker]
    if curve is None:
        variants = {name: chosen(p, name) for name in names}
    else:
        variants = mot_curve.variants(p, names)
    results, set_aside = score(footage, variants)
    if out is not None:
        work.write_json(out, {"detector": p.detector, "trackers": results, "set_aside": set_aside})
    if curve is not None:
        points = {name: by_sequence[OVERALL] for name, by_sequence in results.items()}
        mot_curve.draw(points, curve)
    return table(results)


def chosen(p: Extract, tracker: str, **settings: object) -> Extract:
    """`p` with another tracker, and some of the tracker's settings changed."""
    values = p.model_dump() | {"tracker": tracker}
    if settings:
        values[tracker] = values[tracker] | settings
    return Extract.model_validate(values)


def score(
    footage: Sequence[Footage], variants: Mapping[str, Extract]
) -> tuple[dict[str, dict[str, dict]], dict[str, str]]:
    """The numbers of each variant (a tracker and its settings) on each sequence, and over all.

    Every frame is decoded and looked at once for all variants, which must share the detector.

    Args:
        footage: The sequences.
        variants: The section `extract` of each variant, by name.

    Returns:
        {variant: {sequence, and at the end OVERALL: {one of COLUMNS: number}}}; and the reasons by
        the name of each sequence that is set aside.

    Raises:
        CionError: No sequence can be used.
    """
    first = next(iter(variants.values()))
    part = DETECTORS.named(first.detector)
    part.check(first)
    followed, set_aside = follow_all(footage, variants)
    for name, reason in set_aside.items():
        progress.say(f"audit tracking: {name} set aside: {reason}")
    used = [one for one in footage if one.name in followed]
    if not used:
        raise CionError(
            f"{footage[0].folder}: {set_aside[footage[0].name]}\nno other sequence can be used"
        )
    results = {}
    for name in variants:
        of_variant = [followed[one.name][name] for one in used]
        results[name] = _numbers(used, of_variant)
    return results, set_aside


def table(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """The numbers as a table for a terminal: a row for each tracker and sequence."""
    rows = [
        [tracker, name, *(numbers[column] for column in COLUMNS)]
        for tracker, by_sequence in results.items()
        for name, numbers in by_sequence.items()
    ]
    return tabulate(rows, ["tracker", "sequence", *COLUMNS], floatfmt=".3f")


def _numbers(footage: Sequence[Footage], followed: Sequence[Followed]) -> dict[str, dict]:
    """One variant's numbers on each sequence, and over all."""
    counts = [
        mot_scores.count(of.tracked, true_boxes(one, of.looked_at))
        for one, of in zip(footage, followed, strict=True)
    ]
    metrics = _mot_metrics(footage, followed)
    names = [*(one.name for one in footage), OVERALL]
    sums = [*counts, sum(counts, Counts())]
    return {
        name: _row(counted, metric)
        for name, counted, metric in zip(names, sums, metrics, strict=True)
    }  # fmt: skip


def _row(counts: Counts, metrics: Any) -> dict[str, float]:
    return {
        "purity": round(counts.purity, 5),
        "recall": round(counts.recall, 5),
        "fragments": round(counts.fragments, 5),
        "mixed": round(counts.mixed, 5),
        "tracklets": counts.tracklets,
        "HOTA": round(metrics.HOTA.HOTA, 5),
        "IDF1": round(metrics.Identity.IDF1, 5),
        "MOTA": round(metrics.CLEAR.MOTA, 5),
        "switches": int(metrics.CLEAR.IDSW),
    }


def _mot_metrics(footage: Sequence[Footage], followed: Sequence[Followed]) -> list[Any]:
    """The library's results for each sequence, and over all."""
    with tempfile.TemporaryDirectory() as folder:
        truths, results = Path(folder, "truth"), Path(folder, "results")
        truths.mkdir()
        results.mkdir()
        names = [f"{number:06d}" for number in range(len(footage))]
        for name, one, of in zip(names, footage, followed, strict=True):
            _write(truths / f"{name}.txt", true_lines(one, of.looked_at))
            _write(results / f"{name}.txt", _tracked_lines(of.tracked))
        found = evaluate_mot_sequences(truths, results, metrics=METRICS)
    return [*(found.sequences[name] for name in names), found.aggregate]


def _tracked_lines(tracked: pd.DataFrame) -> np.ndarray:
    """Tracked boxes as MOT writes them, float64 [n, 8]; frames and pixels count from 1 there."""
    x1, y1, x2, y2 = (tracked[name] for name in BOX)
    ones = np.ones(len(tracked))
    corner = [x1 + 1, y1 + 1]
    size = [x2 - x1, y2 - y1]
    return np.stack([tracked.frame + 1, tracked.tracklet, *corner, *size, ones, ones], axis=1)


def _write(path: Path, lines: np.ndarray) -> None:
    """Write MOT's rows [n, 8]."""
    # The library takes no empty file. A box of an id below 0 was not tracked, and does not count.
    nothing = np.array([[1, -1, 1, 1, 1, 1, 0, PEDESTRIAN]])
    np.savetxt(path, np.concatenate([nothing, lines]), fmt="%.10g", delimiter=",")
