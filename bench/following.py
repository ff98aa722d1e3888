"""Purity against recall of every tracker, over its overlap: what the default tracker is chosen by.

    python bench/following.py FOLDER... [--detector NAME] [--lost-seconds S] [--trackers NAME...]

FOLDER is a sequence of the MOT challenge, a folder of them, or a folder with a world.yaml. Every frame
is looked at once for all trackers and overlaps. The cameras of the demo world are fixed, so the camera's
motion is not looked for.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tabulate import tabulate

from cion_core import params
from cion_core.audit import tracking
from cion_core.extract.settings import Extract
from cion_core.extract.trackers import TRACKERS

OVERLAPS = (0.1, 0.2, 0.3, 0.42, 0.55, 0.7)
MOVING = ("botsort", "mcbyte")
COLUMNS = ("purity", "recall", "fragments", "mixed", "HOTA", "IDF1", "MOTA")


def variants(p: Extract, trackers: list[str]) -> dict[str, Extract]:
    """The section `extract` of each tracker at each overlap, by what it is called in the table."""
    found = {}
    for name in trackers:
        still = {"camera_motion": False} if name in MOVING else {}
        for overlap in OVERLAPS:
            found[f"{name} {overlap:g}"] = tracking.chosen(p, name, overlap=overlap, **still)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--detector", help="instead of extract.detector of params.yaml")
    parser.add_argument("--lost-seconds", type=float, help="instead of extract.lost_seconds")
    parser.add_argument("--trackers", nargs="+", default=TRACKERS.names())
    given = parser.parse_args()
    values = params.read(Path("params.yaml"))["extract"]
    asked = {"detector": given.detector, "lost_seconds": given.lost_seconds}
    p = Extract.model_validate(values | {key: value for key, value in asked.items() if value is not None})

    footage = [one for folder in given.folders for one in tracking.find(folder)]
    results = tracking.score(footage, variants(p, given.trackers))
    rows = []
    for name, by_sequence in results.items():
        tracker, overlap = name.split()
        numbers = by_sequence[tracking.OVERALL]
        rows.append([tracker, overlap, *(numbers[column] for column in COLUMNS)])
    print(tabulate(rows, ["tracker", "overlap", *COLUMNS], floatfmt=".3f", tablefmt="github"))


if __name__ == "__main__":
    main()
