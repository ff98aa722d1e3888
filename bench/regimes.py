"""`denoise()` with its defaults on every regime of the real tracklets.

python bench/regimes.py [--people second] [--draws 5]

Over pairs of tracklets of different cameras: precision, recall, F1, wrong links for each tracklet;
and the share of right links that the run itself believed in, over pairs of different videos, beside
the true one. Mean and standard deviation over draws where people, cameras or crops are drawn. Below
it the simulator and, given its folder, the demo.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from footage import REGIMES, Footage, demo, everybody, half, scores, simulated

from cion_core.denoise import Denoised, Settings, denoise
from cion_core.denoise.linking.belief import Belief

FIXED = ("all", "cameras 3 and 6", "cameras 1 and 2", "long tracklets")  # in which nothing is drawn
NUMBERS = ("precision", "recall", "f1", "wrong", "believed", "true share", "threshold")


def people(which: str) -> Footage:
    """All people of the file, or one half of them."""
    return everybody() if which == "all" else half(everybody(), second=which == "second")


def of_videos(footage: Footage) -> Footage:
    """With each video as a camera of its own."""
    return replace(footage, crops=footage.crops.assign(camera=pd.factorize(footage.crops.video)[0]))


def right(footage: Footage, result: Denoised) -> float:
    """The true share of right links, over pairs of tracklets of different videos."""
    return scores(of_videos(footage), result.levels[-1].labels)["precision"]


def measured(footage: Footage, settings: Settings) -> dict[str, float]:
    result = denoise(footage.crops, footage.features, settings)
    level = result.levels[-1]
    belief, threshold = Belief.of_arrays(level.links.rule_state), level.thresholds.separation
    believed = belief.share(1 - threshold) if belief else np.nan
    found = scores(footage, level.labels)
    return found | {
        "believed": believed,
        "true share": right(footage, result),
        "threshold": threshold,
    }


def rows(which: str, draws: int) -> Iterator[dict]:
    footage = people(which)
    for regime, drawn in REGIMES.items():
        for seed in range(1 if regime in FIXED else draws):
            yield {"regime": regime} | measured(drawn(footage, seed), Settings(min_crops=1))


def told(rows: list[dict]) -> str:
    """Mean, and spread where there are several draws."""
    table = pd.DataFrame(rows).groupby("regime", sort=False)
    mean, spread, count = table.mean(), table.std(), table.size()
    both = mean[list(NUMBERS)].map("{:.2f}".format) + spread[list(NUMBERS)].map(" ± {:.2f}".format)
    return both.where(count > 1, mean[list(NUMBERS)].map("{:.2f}".format)).to_string()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", choices=("all", "first", "second"), default="all")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--demo", type=Path, help="the folder of a reproduced demo, as data")
    options = parser.parse_args()
    print(f"{options.people} people\n{told(list(rows(options.people, options.draws)))}")
    worlds = [
        {"regime": "simulator"} | measured(of_videos(simulated(seed)), Settings())
        for seed in range(options.draws)
    ]
    if options.demo:
        worlds.append(
            {"regime": "demo"} | measured(of_videos(demo(options.demo)), Settings(min_crops=3))
        )
    print(f"\nmade, over pairs of different videos\n{told(worlds)}")


if __name__ == "__main__":
    main()
