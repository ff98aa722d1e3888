"""How far the probabilities of links can be trusted.

python bench/reliability.py [--demo data] [--draws 3] [--learn]

All that `denoise()` links across videos by default, sorted by the probability that the ledger
tells: in each tenth, what is told, and what share is right. Once merge by merge (right: most
tracklets of both sets are the same person's), once over the pairs of tracklets of different cameras
that merges join. Of the real tracklets in all regimes of `footage`: the second half of the people,
and everybody; of the simulator; and, given its folder, of the demo. `--learn` learns
`belief.MARGIN` anew from the first half, the simulator and the demo, drawn by other seeds.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from belief import DRAWN, demos, simulations
from footage import REGIMES, Footage, everybody, half
from scipy.optimize import minimize

from cion_core.denoise import denoise
from cion_core.denoise.cannot_link import most_common_labels
from cion_core.denoise.linking.agglomeration import lowest_of_each
from cion_core.denoise.linking.belief import MARGIN, SIMILARITIES, Belief, link_probability

TENTHS = np.arange(0, 1.01, 0.1)
FEW = 30  # links in a tenth below which its share says little


@dataclass
class Set:
    """Tracklets by person, by camera, and by both."""

    person: Counter = field(default_factory=Counter)
    camera: Counter = field(default_factory=Counter)
    both: Counter = field(default_factory=Counter)

    def add(self, other: Set) -> None:
        for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True):
            mine.update(theirs)


def links(footage: Footage) -> pd.DataFrame:
    """One row per merge that joins tracklets of different cameras.

    Columns: probability, right (bool), pairs, right_pairs; and what the probability comes from,
    similarity and the share of right links that is believed from there on.
    """
    crops = footage.crops
    result = denoise(crops, footage.features)
    kept = result.levels[-1].links
    order = np.argsort(crops.crop.to_numpy(), kind="stable")  # as `denoise` sorts them
    tracklet, person, camera = (
        crops[name].to_numpy()[order] for name in ("tracklet", "person", "camera")
    )
    home = most_common_labels(tracklet, result.levels[1].labels)
    shown = most_common_labels(tracklet, person - person.min()).reindex(home.index)
    where = pd.Series(camera, tracklet).groupby(level=0).first().reindex(home.index)
    of = {name: Set() for name in kept.video_identity.tolist()}
    for name, who, cam in zip(home.tolist(), shown.tolist(), where.tolist(), strict=True):
        if name >= 0:
            of[name].add(Set(Counter([who]), Counter([cam]), Counter([(who, cam)])))
    # Nodes of one name are one set from the beginning.
    into, rows = (lowest_of_each(kept.video_identity).tolist(), [])

    def cluster(node: int) -> int:
        while into[node] != node:
            node = into[node]
        return node

    for (i, j), sure, distance in zip(
        kept.merges.tolist(), kept.probability, kept.distance, strict=True
    ):
        a, b = cluster(i), cluster(j)
        one, two = of[kept.video_identity[a]], of[kept.video_identity[b]]
        pairs = met(sum(one.person.values()) * sum(two.person.values()), one.camera, two.camera)
        right = met(same(one.person, two.person), one.both, two.both)
        if pairs:
            agree = one.person.most_common(1)[0][0] == two.person.most_common(1)[0][0]
            rows.append((sure, agree, pairs, right, 1 - distance))
        one.add(two)
        into[b] = a
    table = pd.DataFrame(
        rows, columns=["probability", "right", "pairs", "right_pairs", "similarity"]
    )
    believed = Belief.of_arrays(kept.rule_state)
    if believed is None:  # too few identities to say how sure their links are
        return table[:0].assign(share=0.0)
    return table.assign(share=np.interp(table.similarity, SIMILARITIES, believed.right))


def same(one: Counter, two: Counter) -> int:
    """How many pairs of one and two agree."""
    return sum(count * two[key] for key, count in one.items())


def met(all_of_them: int, one: Counter, two: Counter) -> int:
    """Pairs less those of one camera."""
    return all_of_them - same(one, two)


def told(table: pd.DataFrame) -> pd.DataFrame:
    """By tenths of probability: how many merges and pairs, what is told, what share is right."""
    tenth = np.clip(np.digitize(table.probability, TENTHS) - 1, 0, 9)
    rows = table.assign(told_pairs=table.probability * table.pairs).groupby(tenth)
    return pd.DataFrame({
        "merges": rows.size(), "told": rows.probability.mean(), "right": rows.right.mean(),
        "pairs": rows.pairs.sum(), "told of pairs": rows.told_pairs.sum() / rows.pairs.sum(),
        "right pairs": rows.right_pairs.sum() / rows.pairs.sum(),
    }).rename_axis("tenth")  # fmt: skip


def worst(table: pd.DataFrame) -> tuple[float, float]:
    """The largest distance of what is told from what is right, over tenths of FEW links.

    It is given of merges and of pairs.
    """
    by = told(table)
    merges, pairs = by[by.merges >= FEW], by[by.pairs >= FEW]
    return (merges.told - merges.right).abs().max(), (
        pairs["told of pairs"] - pairs["right pairs"]
    ).abs().max()


def learnt(table: pd.DataFrame) -> np.ndarray:
    """The weights of largest likelihood of the share of right pairs.

    Each merge counts the same.
    """
    share, similarity = table.share.to_numpy(), table.similarity.to_numpy()
    right = (table.right_pairs / table.pairs).to_numpy()

    def cost(weights: np.ndarray) -> float:
        told = np.clip(link_probability(share, similarity, weights), 1e-6, 1 - 1e-6)
        return -float((right * np.log(told) + (1 - right) * np.log(1 - told)).mean())

    return minimize(cost, MARGIN, method="Nelder-Mead").x


def real(footage: Footage, seed: int, draws: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """All regimes, drawn by seeds from `seed` on."""
    for regime, drawn in REGIMES.items():
        for draw in range(seed, seed + (draws if DRAWN.get(regime, (1,))[0] > 1 else 1)):
            yield regime, links(drawn(footage, draw))


def made(worlds: Iterator[tuple[str, Footage]]) -> Iterator[tuple[str, pd.DataFrame]]:
    """What `belief` makes; cameras are the folders that videos lie in."""
    for name, footage in worlds:
        yield name.split(" | ")[1], links(footage)


def report(title: str, found: Iterator[tuple[str, pd.DataFrame]]) -> None:
    """Print the tenths of all regimes together, and the worst tenth of each.

    Each regime has the same weight.
    """
    tables: dict[str, list[pd.DataFrame]] = {}
    for regime, table in found:
        tables.setdefault(regime, []).append(table)
    each = {regime: pd.concat(some, ignore_index=True) for regime, some in tables.items()}
    print(
        f"\n{title}, all "
        f"regimes\n{told(pd.concat(each.values(), ignore_index=True)).round(2).to_string()}"
    )
    rows = pd.DataFrame(
        {
            regime: (len(t), t.probability.mean(), t.right.mean(), *worst(t))
            for regime, t in each.items()
        },
        index=["merges", "told", "right", "worst tenth", "of pairs"],
    ).T
    print(rows.round(2).to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, help="the folder of a reproduced demo, as data")
    parser.add_argument("--draws", type=int, default=3, help="of regimes that are drawn")
    parser.add_argument(
        "--learn", action="store_true", help="learn the weights from the first half, and print them"
    )
    options = parser.parse_args()
    people = everybody()
    if options.learn:
        worlds = [real(half(people, second=False), 0, options.draws), made(simulations(0))]
        worlds += [made(demos(options.demo, 0))] if options.demo else []
        first = pd.concat([table for some in worlds for _, table in some], ignore_index=True)
        print(learnt(first).round(2).tolist())
        return
    report("the second half", real(half(people, second=True), 10, options.draws))
    report("everybody", real(people, 20, options.draws))
    report("the simulator", made(simulations(1)))
    if options.demo:
        report("the demo", made(demos(options.demo, 1)))


if __name__ == "__main__":
    main()
