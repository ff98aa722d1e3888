"""ID switches: how many are found at how many wrong cuts, by several methods.

python bench/switches.py

Halves of the real tracklets (`bench/footage.py`) and the rendered demo (`--demo data`), with
switches planted. For each share of the clean tracklets of four crops and more that is cut (in the
footage as it is), the share of the switched ones that is: by the distance of the two parts that are
farthest apart, in the features as they are, less their video's mean, in the space that `switches`
learns, with one crop left out, with the exchange beside it (what is built), and by an oracle that
knows where to cut but goes by the parts' cosine alone. Then what the limit from the footage itself
gives, and which switches are repaired after each level (`audit.planted_errors`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from footage import Footage, demo, everybody, exchanged, half, switched

from cion_core.audit import planted_errors, planting
from cion_core.audit.planting import Planted
from cion_core.denoise import Settings, cuts, pipeline, switches
from cion_core.denoise.checks import checked
from cion_core.neighbours.arrays import unit

SHARES = (0.005, 0.01, 0.02, 0.05, 0.1)  # of the clean tracklets that are cut
IMPURE = 2  # crops of a second person that make a tracklet no clean one


def plain(points: np.ndarray, start: np.ndarray) -> np.ndarray:
    """How far the two parts of each tracklet are apart at the best cut, float [T]."""
    out = []
    for rows in np.split(points, start[1:]):
        sums = rows.cumsum(0)[cuts.SMALLEST_PART - 1 : len(rows) - cuts.SMALLEST_PART]
        out.append(1 - (unit(sums) * unit(rows.sum(0) - sums)).sum(1).min())
    return np.array(out)


def oracle(points: np.ndarray, start: np.ndarray, people: np.ndarray) -> np.ndarray:
    """As `plain`, but it knows where to cut a tracklet of two people.

    It cuts where most of the one come before and most of the other after.
    """
    out = plain(points, start)
    for k, (rows, who) in enumerate(
        zip(np.split(points, start[1:]), np.split(people, start[1:]), strict=True)
    ):
        if len(np.unique(who)) > 1:
            first = who == who[: len(who) // 2][0]
            places = np.arange(cuts.SMALLEST_PART, len(who) - cuts.SMALLEST_PART + 1)
            best = places[np.argmax([first[:at].sum() + (~first)[at:].sum() for at in places])]
            out[k] = 1 - (unit(rows[:best].sum(0)[None]) * unit(rows[best:].sum(0)[None])).sum()
    return out


def methods(footage: Footage) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The tracklets that can be cut, int [T], and the score of each by every method."""
    crops, features = checked(footage.crops, footage.features)
    tracklets, videos = crops.tracklet.to_numpy(np.int64), pd.factorize(crops.video)[0]
    learnt = switches.learn_tracklet_space(crops, features, tracklets)
    flat = switches.TrackletSpace(learnt.mean, np.eye(features.shape[1], dtype=np.float32))
    every = features[np.arange(len(crops))]
    own = {name: switches.Cuttable.of(crops, videos, tracklets, every, space) for name, space in
           (("flat", flat), ("learnt", learnt))}  # fmt: skip
    long = own["learnt"]
    people = footage.crops.sort_values("crop").person.to_numpy()[long.rows]
    return tracklets[long.rows[long.start]], {
        "features as they are": plain(every[long.rows], long.start),
        "less the video's mean": plain(own["flat"].points, long.start),
        "learnt space": plain(long.points, long.start),
        "one crop left out": 1 - cuts.best_cuts(long.points, long.start).alike,
        "exchange beside (built)": cuts.score_cuts(long.points, long.start, long.videos)[0],
        "oracle's place, as they are": oracle(every[long.rows], long.start, people),
        "oracle's place, learnt space": oracle(long.points, long.start, people),
    }


def clean(footage: Footage) -> np.ndarray:
    """Tracklets of four crops and more that are mostly one person.

    A second person has less than IMPURE of the crops.
    """
    cells = footage.crops.groupby(["tracklet", "person"]).size()
    size = footage.crops.groupby("tracklet").size()
    cells = (
        cells[cells.index.get_level_values("person") >= 0]
        .sort_values(ascending=False)
        .groupby("tracklet")
    )
    first, second = (
        cells.nth(0).droplevel("person"),
        cells.nth(1).droplevel("person").reindex(size.index, fill_value=0),
    )
    pure = (first.reindex(size.index, fill_value=0) >= 0.6 * size) & (second < IMPURE)
    return size.index[pure & (size >= 2 * cuts.SMALLEST_PART)].to_numpy()


def planted(footage: Footage, after: Footage) -> list[Planted]:
    """The switches that `after` holds and `footage` does not.

    They are counted as the audit of planted errors does it.
    """
    was, now = footage.crops.tracklet.to_numpy(), after.crops.tracklet.to_numpy()
    out = []
    for tracklet in np.unique(now[was != now]):
        rows = np.flatnonzero(now == tracklet)
        guest, host = rows[was[rows] != tracklet], rows[was[rows] == tracklet]
        if len(guest) > len(host):
            guest, host = host, guest
        origin = np.flatnonzero((was == was[guest[0]]) & (now != tracklet))
        out.append(Planted("switch", guest, host, origin))
    return out


def seen_together(footage: Footage, seed: int) -> Footage:
    """The switches of the audit, and no other errors."""
    crops, errors = planting.inject(footage.crops, np.random.default_rng(seed))
    kept = np.concatenate([np.append(e.guest, e.host) for e in errors if e.kind == "switch"])
    tracklets, now = footage.crops.tracklet.to_numpy().copy(), crops.tracklet.to_numpy()
    whole = np.isin(now, now[kept])
    tracklets[whole] = now[whole]
    return footage.relabelled(tracklets)


def report(
    name: str, footage: Footage, plant: Callable[[Footage, int], Footage], seeds: int
) -> None:
    """Print the curves, the limit that the footage itself gives, and what is repaired."""
    fine = clean(footage)
    tracklets, scores = methods(footage)
    found: dict[str, list] = {method: [] for method in scores}
    told = []
    for seed in range(seeds):
        after = plant(footage, seed)
        errors = planted(footage, after)
        bad = np.unique(after.crops.tracklet.to_numpy()[np.concatenate([e.guest for e in errors])])
        names, values = methods(after)
        for method, score in scores.items():
            limits = np.quantile(
                score[np.isin(tracklets, fine)], 1 - np.array(SHARES), method="higher"
            )
            hit = values[method][np.isin(names, bad)]
            found[method].append([(hit > limit).mean() for limit in limits])
        told.append(through(after, errors, np.setdiff1d(fine, bad)))
    print(
        f"\n{name}: {len(fine)} clean tracklets of four crops and more, {len(errors)} switched "
        f"ones, {seeds} seeds"
    )
    print("share of the clean cut: " + ", ".join(f"{share:.1%}" for share in SHARES))
    for method, rows in found.items():
        print(f"  {method:30s}" + "  ".join(f"{100 * v:5.1f}" for v in np.mean(rows, 0)))
    print("limit from the footage: as it is, " + through(footage, [], fine)[1])
    for shares, rule in told:
        print("  " + ", ".join(shares) + "; " + rule)


def through(footage: Footage, errors: list[Planted], fine: np.ndarray) -> tuple[list[str], str]:
    """The share of switches repaired after each level, and of the clean tracklets cut, in words."""
    crops, features = checked(footage.crops, footage.features)
    levels = pipeline.run(crops, features, Settings())
    cut = levels[0].ledger.action == "cut"
    wrong = np.isin(np.unique(crops.tracklet[cut.to_numpy()]), fine).sum()
    repaired = [planted_errors.repaired(errors, level.labels) for level in levels] if errors else []
    shares = [f"{100 * r['switch']['repaired'] / len(errors):.1f} %" for r in repaired]
    return shares, f"{wrong} of {len(fine)} clean ones cut; {levels[0].calibration['cut'].how}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, help="the folder data of the demo")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    all_ = everybody()
    for name, footage in (
        ("first half", half(all_, False)),
        ("second half", half(all_, True)),
        ("all", all_),
    ):
        report(f"{name} of the people, 200 switches", footage, switched(), options.seeds)
    report("second half, 20 switches", half(all_, True), switched(20), options.seeds)
    report(
        "second half, crops exchanged, 20 switches",
        exchanged()(half(all_, True), 0),
        switched(20),
        options.seeds,
    )
    if options.demo:
        report("demo", demo(options.demo), seen_together, min(options.seeds, 3))


if __name__ == "__main__":
    main()
