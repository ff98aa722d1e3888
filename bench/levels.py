"""Levels 1 and 2 on real tracklets: what level 2 joins inside a video, and whose the crops are.

`python bench/levels.py` prints for each regime of `footage.py` and each seed the thresholds; over
pairs of tracklets of one video the precision and recall of level 2's identities, and its wrong
pairs per tracklet; and after each level the purity (share of kept crops that show the person whom
most crops of their identity show) and the share of the clean crops that is lost (dropped, or in
another person's identity). A crop is clean if nobody put it into another tracklet.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from footage import REGIMES, Footage, everybody, exchanged, half, majority, pairs

from cion_core.denoise import Settings, pipeline
from cion_core.denoise.cannot_link import homes
from cion_core.denoise.checks import checked
from cion_core.denoise.result import Level


def once(footage: Footage, seed: int) -> Footage:
    """One tracklet of each person in each video, drawn by seed.

    Nobody comes twice there, so no merge is right.
    """
    tracklets = footage.crops.drop_duplicates("tracklet").sample(frac=1, random_state=seed)
    kept = tracklets.drop_duplicates(["person", "video"]).tracklet
    return footage.keep(footage.crops.tracklet.isin(kept).to_numpy())


def two_levels(footage: Footage) -> list[Level]:
    """Levels 1 and 2 with the settings of `denoise()`."""
    table, unit = checked(footage.crops, footage.features)
    labels, done = footage.crops.tracklet.to_numpy(np.int64), []
    for name in ("tracklet", "video"):
        done.append(pipeline.run_level(name, table, unit, labels, Settings()))
        labels = done[-1].labels
    return done


def joined(footage: Footage, labels: np.ndarray) -> dict[str, float]:
    """Over pairs of tracklets of one video; labels int [N], -1: none."""
    crops = footage.crops
    tracklets = crops.tracklet.to_numpy()
    label = homes(tracklets, labels)
    person = majority(tracklets, crops.person.to_numpy()).reindex(label.index).to_numpy()
    video = pd.factorize(crops.groupby("tracklet").video.first().reindex(label.index))[0]
    kept, label = label.to_numpy() >= 0, label.to_numpy()
    told, right = pairs(label[kept], video[kept]), pairs(label[kept], video[kept], person[kept])
    true = pairs(person, video)
    precision, recall = right / told if told else 1.0, right / true if true else 1.0
    return {
        "pairs": true,
        "precision": precision,
        "recall": recall,
        "wrong": (told - right) / len(label),
    }


def purity(footage: Footage, labels: np.ndarray, clean: np.ndarray) -> tuple[float, float]:
    """Purity, and the share of the `clean` crops (bool [N]) that is lost."""
    kept, person = labels >= 0, footage.crops.person.to_numpy()
    own = np.zeros(len(labels), bool)
    own[kept] = (
        majority(labels[kept], person[kept]).reindex(labels[kept]).to_numpy() == person[kept]
    )
    return own.sum() / kept.sum(), 1 - (own & clean).sum() / clean.sum()


def row(footage: Footage, clean: np.ndarray) -> dict[str, float]:
    """All that is said of one labelling."""
    one, two = two_levels(footage)
    found = {
        "radius": one.thresholds.radius,
        "separation": two.thresholds.separation,
        **joined(footage, two.labels),
    }
    for name, level in (("1", one), ("2", two)):
        found[f"purity {name}"], found[f"lost {name}"] = purity(footage, level.labels, clean)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--people", choices=("all", "first", "second"), default="all")
    options = parser.parse_args()
    footage = everybody()
    if options.people != "all":
        footage = half(footage, options.people == "second")
    regimes = {name: draw for name, draw in REGIMES.items() if "exchanged" not in name} | {
        "once a video": once
    }
    rows = []
    for name, draw in regimes.items():
        for seed in range(options.seeds if name not in ("all", "long tracklets") else 1):
            drawn = draw(footage, seed)
            rows.append({"regime": name, **row(drawn, np.ones(len(drawn.crops), bool))})
    for name in ("all", "a tenth come again"):
        for seed in range(options.seeds):
            given = REGIMES[name](footage, seed)
            drawn = exchanged()(given, seed)
            clean = (drawn.crops.tracklet == given.crops.tracklet).to_numpy()
            rows.append({"regime": f"{name}, exchanged", **row(drawn, clean)})
    table = pd.DataFrame(rows).groupby("regime", sort=False).agg(["mean", "std"])
    table.columns = [name if part == "mean" else f"± {name}" for name, part in table.columns]
    spread = [
        f"± {name}"
        for name in ("pairs", "radius", "separation", "wrong", "lost 1", "lost 2", "purity 1")
    ]
    print(table.drop(columns=spread).fillna(0).round(3).to_string())


if __name__ == "__main__":
    main()
