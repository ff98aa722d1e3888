"""Rules that link tracklets across videos, beside this project's defaults, which see no truth.

python bench/linking.py              on simulated features
python bench/linking.py --footage    on real tracklets (footage.py) and their regimes

Every other rule is run at its best threshold, knowing the truth. On footage it has its best in each
regime, and the one that is best for all. Pairs are of tracklets of different videos on simulated
features, and of different cameras on footage.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import footage
import numpy as np
import pandas as pd
from peers import Tracklets, peers
from simulator import simulate

from cion_core.audit import scores
from cion_core.denoise import Settings, denoise
from cion_core.denoise.linking.rules import RULES
from cion_core.neighbours.arrays import unit

DRAWS = {
    "all": 1,
    "a tenth come again": 5,
    "nobody comes twice": 5,
    "two cameras": 5,
    "cameras 3 and 6": 1,
    "cameras 1 and 2": 1,
    "exchanged": 5,
}
NOBODY = "nobody comes twice"  # where no pair is true, and wrong links are all there is to count


def of(crops: pd.DataFrame, features: np.ndarray, cameras: pd.Series) -> Tracklets:
    """Tracklets for rules; cameras: of each crop."""
    groups = np.unique(crops.tracklet, return_inverse=True)[1]
    video, camera = (
        pd.factorize(column.groupby(groups).first())[0] for column in (crops.video, cameras)
    )
    return Tracklets(unit(features), groups, video, camera)


def defaults(crops: pd.DataFrame, features: np.ndarray) -> Iterator[tuple[str, np.ndarray, float]]:
    """What `denoise` makes of them by each linking rule, with no threshold given.

    Yields name, labels int [N], and the threshold it found.
    """
    for linking in RULES.names():
        result = denoise(crops, features, Settings(linking=linking))
        found = result.audit["cross_video"]["separation"]
        yield f"denoise() by {linking} linking, no threshold given", result.levels[-1].labels, found


def on_simulated(people: int, seed: int) -> None:
    """Prints each rule's scores at its best threshold."""
    world = simulate(people=people, seed=seed)
    crops = world.crops
    # A distractor is the same person as nobody else.
    persons = np.where(crops.person < 0, -1 - crops.index, crops.person)
    tracklets = of(crops, world.features, crops.video.str.split("/").str[0])
    rows, start = [], time.perf_counter()

    def told(name: str, threshold: float, labels: np.ndarray) -> dict:
        row = scores.against_truth(crops, labels, persons)["cross_video"]
        return {"rule": name, "threshold": threshold, **row}

    def add(row: dict) -> None:
        nonlocal start
        rows.append(row | {"seconds": time.perf_counter() - start})
        start = time.perf_counter()

    for name, rule, thresholds in peers(tracklets):
        tried = (told(name, t, rule(t)[tracklets.groups]) for t in thresholds)
        add(max(tried, key=lambda row: row["f1"]))
    for name, labels, threshold in defaults(crops, world.features):
        add(told(name, threshold, labels))
    print(
        f"{len(tracklets.videos)} tracklets, {crops.video.nunique()} videos, {people} people, "
        f"seed {seed}"
    )
    print(pd.DataFrame(rows).round(2).to_string(index=False))


def on_footage() -> None:
    """Prints the scores of every rule in every regime of DRAWS."""
    if not (footage.SHARED / "reid_tracklets.npz").exists():
        print(f"skipped: no real tracklets, {footage.SHARED} has none")
        return
    everybody, rows = footage.everybody(), []
    for regime, draws in DRAWS.items():
        for seed in range(draws):
            drawn = footage.REGIMES[regime](everybody, seed)
            tracklets = of(drawn.crops, drawn.features, drawn.crops.camera)
            told = {"regime": regime, "seed": seed, "tracklets": len(tracklets.videos)}
            for name, rule, thresholds in peers(tracklets):
                for t in thresholds:
                    score = footage.scores(drawn, rule(t)[tracklets.groups])
                    rows.append(told | {"rule": name, "threshold": t, **score})
            for name, labels, _ in defaults(drawn.crops, drawn.features):
                rows.append(
                    told | {"rule": name, "threshold": 0.0, **footage.scores(drawn, labels)}
                )
    tell(pd.DataFrame(rows))


def tell(table: pd.DataFrame) -> None:
    """Print two tables, a row a rule.

    `table` has regime, seed, tracklets, true, rule, threshold (0: the rule's own), f1, wrong.
    """
    drawn = table.drop_duplicates(["regime", "seed"]).groupby("regime", sort=False)
    print(
        drawn[["tracklets", "true"]]
        .mean()
        .round()
        .astype(int)
        .assign(draws=drawn.size())
        .T.to_string()
    )
    linked = table[table.regime != NOBODY]
    best = linked.groupby(["rule", "regime", "seed"], sort=False).f1.max()
    print("\nF1 at the best threshold of each draw, mean ± standard deviation over draws\n")
    print(cells(best).to_string())
    mean = (
        linked.groupby(["rule", "threshold", "regime"])
        .f1.mean()
        .groupby(["rule", "threshold"])
        .mean()
    )
    chosen = mean.groupby("rule").idxmax()  # (rule, threshold)
    fixed = table.set_index(["rule", "threshold"]).loc[list(chosen)].reset_index()
    value = fixed.f1.where(fixed.regime != NOBODY, fixed.wrong)
    value.index = pd.MultiIndex.from_frame(fixed[["rule", "regime", "seed"]])
    shown = cells(value).reindex(index=best.index.unique("rule"), columns=list(DRAWS))
    shown.insert(
        0, "threshold", [f"{t:.2f}" if (t := chosen[rule][1]) else "found" for rule in shown.index]
    )
    shown["mean F1"] = [f"{mean[chosen[rule]]:.2f}" for rule in shown.index]
    print(
        f"\nF1 at one threshold for all regimes, that of the highest mean F1 (“{NOBODY}”: wrong "
        "links per tracklet)\n"
    )
    print(shown.to_string())


def cells(values: pd.Series) -> pd.DataFrame:
    """values by (rule, regime, seed) as text: a row a rule, a column a regime, in their order."""
    over = values.groupby(["rule", "regime"], sort=False)
    text = over.mean().map("{:.2f}".format) + over.std().map(
        lambda s: "" if np.isnan(s) else f" ± {s:.2f}"
    )
    wide = text.unstack("regime")
    return wide.reindex(index=values.index.unique("rule"), columns=values.index.unique("regime"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--footage", action="store_true")
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.footage:
        on_footage()
    else:
        on_simulated(options.people, options.seed)


if __name__ == "__main__":
    main()
