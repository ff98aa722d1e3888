"""Purity against recall: what a tracker makes of the same footage as it is told to be stricter.

A tracker that joins boxes only where they overlap much makes purer tracklets, and loses people. Two
trackers compare where their recall is the same, so each is drawn as a curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from cion_core import work
from cion_core.extract.settings import Extract
from cion_core.extract.trackers import TRACKERS

KEY = "overlap"  # of a tracker's settings: the IoU from which on a box goes on with a tracklet
OVERLAPS = (0.1, 0.2, 0.3, 0.42, 0.55, 0.7)
MARKERS = "osD^vP*X"


def variants(p: Extract, trackers: Sequence[str]) -> dict[str, Extract]:
    """The section `extract` for each point of each curve, by what the point is called.

    Args:
        p: the section, whose other settings stay as they are.
        trackers: names; of one that has no setting KEY there is a single point, as it is set.
    """
    found = {}
    for name in trackers:
        values = p.model_dump() | {"tracker": name}
        if KEY not in TRACKERS.named(name).Settings.model_fields:
            found[name] = Extract.model_validate(values)
            continue
        for overlap in OVERLAPS:
            stricter = {name: values[name] | {KEY: overlap}}
            found[f"{name} {overlap:g}"] = Extract.model_validate(values | stricter)
    return found


def draw(points: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Write the curves as a picture.

    Args:
        points: purity and recall of each point over all footage, by its name as `variants` gives
            it.
        path: the picture; its suffix says of what kind (.png, .svg, .pdf).
    """
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    # Points are called TRACKER or TRACKER OVERLAP.
    points_of: dict[str, list[str]] = {}
    for name in points:
        tracker = name.partition(" ")[0]
        points_of.setdefault(tracker, []).append(name)
    for number, (tracker, own) in enumerate(points_of.items()):
        marker = MARKERS[number % len(MARKERS)]
        recall = [100 * points[name]["recall"] for name in own]
        purity = [100 * points[name]["purity"] for name in own]
        axes.plot(recall, purity, marker=marker, label=tracker)
        for x, y, name in zip(recall, purity, own, strict=True):
            overlap = name.partition(" ")[2]
            axes.annotate(overlap, (x, y), (4, 4), textcoords="offset points", fontsize=7)
    axes.set_xlabel("recall: share of the true boxes that are in a tracklet, %")
    axes.set_ylabel("purity: share of boxes that show their tracklet's person, %")
    axes.set_title(f"Numbers at the points: {KEY}. Better is up and to the right", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend()
    with work.atomic(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip(".") or "png", dpi=150)
