"""How well belief in links holds; learns its weights anew with `--learn`.

python bench/belief.py [--demo data] [--learn]

The weights of `cion_core.denoise.linking.belief` are learnt from one half of the people of the real
tracklets, in all regimes, by features as they are and made worse in several ways, from the
simulator, and, given its folder, from the demo. Reported is the other half, and everybody, in
regimes drawn by other seeds: believed less true share of right links, at the level that would be
linked at and over all levels. Beside it decoys: identities that belong to nobody, put together from
the features of many, whose links are all wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from footage import REGIMES, Footage, demo, everybody, half, majority, simulated
from levels import two_levels
from scipy import sparse
from scipy.optimize import least_squares

from cion_core.denoise.checks import checked
from cion_core.denoise.linking import agglomeration, belief
from cion_core.denoise.linking.linked_pairs import sample_linked_pairs
from cion_core.denoise.linking.nodes import Nodes
from cion_core.denoise.linking.space import centre_by_view, learn_linking_space
from cion_core.denoise.linking.strangers import measure_strangers
from cion_core.denoise.sequence import Sequence
from cion_core.neighbours import search
from cion_core.neighbours.arrays import unit
from cion_core.neighbours.similarity import similarity

FEATURES = (
    "as they are",
    "64 of them",
    "noise 0.5",
    "noise 0.9",
    "24 principal",
    "60 principal",
    "roots",
    "100 of them",
)
SOME = ("as they are", "noise 0.9", "24 principal", "roots")
PLAIN = ("as they are",)
DRAWN = {  # regime: how many draws, and with which features
    "all": (1, FEATURES),
    "a tenth come again": (2, FEATURES),
    "a third come again": (2, SOME),
    "nobody comes twice": (3, FEATURES),
    "cameras 3 and 6": (1, SOME),
    "cameras 1 and 2": (1, SOME),
    "two cameras": (4, SOME),
    "three cameras": (2, PLAIN),
    "four videos": (2, SOME),
    "ten videos": (2, SOME),
    "a quarter of the people": (2, SOME),
    "one crop a tracklet": (1, PLAIN),
    "long tracklets": (1, PLAIN),
    "exchanged": (1, PLAIN),
    "a tenth, exchanged": (2, PLAIN),
    "switched": (1, PLAIN),
    "fragmented": (1, PLAIN),
}
SIMULATED = (
    {},
    {"per_person": 2.0},
    {"people": 600, "per_person": 1.15},
    {"view": 1.0, "tail": 1.0, "people": 150},
    {"offset": 1.0, "jitter": 0.7},
)


@dataclass(frozen=True)
class World:
    """Nodes of some footage, and the person of each, int [n]."""

    name: str
    nodes: Nodes
    person: np.ndarray


def world(name: str, footage: Footage) -> World:
    """What levels 1 and 2 leave of the tracklets, as nodes for level 3."""
    crops, features = checked(footage.crops, footage.features)
    labels = two_levels(footage)[-1].labels
    nodes = Sequence.of(crops, features, labels, cannot_link=True).nodes
    person = majority(nodes.groups, footage.crops.person.to_numpy()).reindex(range(len(nodes)))
    return World(name, nodes, person.to_numpy())


def worse(footage: Footage, how: str, seed: int) -> Footage:
    """The same crops by another, mostly worse embedder."""
    rng, features = np.random.default_rng(seed), footage.features
    dims = features.shape[1]
    if how.startswith("noise"):
        noise = rng.standard_normal(features.shape).astype(np.float32)
        features = features + noise * float(how.split()[1]) / np.sqrt(dims)
    elif how.endswith("principal"):
        mean = features.mean(0)
        axes = np.linalg.svd((features - mean)[::3], full_matrices=False)[2][: int(how.split()[0])]
        features = features @ axes.T
    elif how == "roots":
        features = np.sign(features) * np.sqrt(np.abs(features))
    elif how == "64 of them":
        features = features @ rng.standard_normal((dims, 64)).astype(np.float32)
    elif how == "100 of them":
        features = features[:, rng.permutation(dims)[:100]]
    return Footage(footage.crops, features)


def real(footage: Footage, seed: int) -> Iterator[World]:
    """All regimes of DRAWN, their draws by seeds from `seed` on."""
    for regime, (draws, kinds) in DRAWN.items():
        for how in kinds:
            for draw in range(seed, seed + (draws if how == PLAIN[0] else min(draws, 2))):
                yield world(
                    f"{regime} | {how} | {draw}", worse(REGIMES[regime](footage, draw), how, draw)
                )


def simulations(seed: int) -> Iterator[tuple[str, Footage]]:
    for settings in SIMULATED:
        yield f"simulator | {settings or 'as it is'} | {seed}", simulated(seed, **settings)


def demos(folder: Path, seed: int) -> Iterator[tuple[str, Footage]]:
    """The demo's crops: all, ten videos, each person in one video, and three quarters in one."""
    footage = demo(folder)
    crops = footage.crops
    rng = np.random.default_rng(seed)
    some = rng.permutation(np.unique(crops.video))[:10]
    seen = crops[crops.person >= 0].groupby("person").video.unique()
    own = crops.person.map({person: rng.choice(videos) for person, videos in seen.items()})
    nobody = (crops.person < 0) | (own == crops.video)
    quarter = crops.person.isin(rng.permutation(seen.index)[: len(seen) // 4])
    yield "demo | all | 0", footage
    for name, rows in {
        "ten videos": crops.video.isin(some),
        "nobody twice": nobody,
        "a quarter": nobody | quarter,
    }.items():
        yield f"demo | {name} | {seed}", footage.keep(rows.to_numpy())


def made(folder: Path | None, seed: int) -> list[World]:
    """The worlds of the simulator and, given its folder, of the demo."""
    return [world(*one) for one in (*simulations(seed), *(demos(folder, seed) if folder else ()))]


def told(one: World) -> pd.DataFrame:
    """Facts, believed and true share at each level.

    One space is that before links are learnt from, the other the one after.
    """
    nodes, told = one.nodes, []
    space, points = learn_linking_space(
        nodes.centres,
        nodes.views,
        nodes.features,
        nodes.groups,
        nodes.forbidden,
        nodes.initial_sets,
    )
    before = space.before_links.project(nodes.centres, nodes.views)
    strangers = measure_strangers(before, nodes.views)
    for name, here in {"before": before, "after": points}.items():
        merges = merged(here, nodes.forbidden, nodes.initial_sets)
        links, known = belief.measure_facts(merges, nodes.views, nodes.initial_sets, strangers)
        believed = belief.believe(merges, nodes.views, nodes.initial_sets, strangers)
        i, j, similar, weight = sample_linked_pairs(merges, nodes.views, nodes.initial_sets)
        right = belief.weight_above(similar, weight * (one.person[i] == one.person[j]))
        with np.errstate(invalid="ignore"):
            true = right / (links * len(nodes))
        table = pd.DataFrame(known, columns=belief.FACTS)
        least = believed.least_worthwhile()
        told.append(table.assign(
            world=one.name, space=name, believed=believed.right, true=true, decoys=np.nan,
            chosen=np.arange(len(table)) == np.abs(belief.SIMILARITIES - least).argmin(),
        ))  # fmt: skip
    told[-1]["decoys"] = decoys(one, space) if one.name.endswith(("| 0", "| 10")) else np.nan
    return pd.concat(told, ignore_index=True).dropna(subset="true")


def merged(
    points: np.ndarray, forbidden: sparse.csr_matrix, initial_sets: np.ndarray
) -> agglomeration.SimilarityMerges:
    similar = similarity(points, search.neighbours(points, forbidden=forbidden))
    least = belief.SIMILARITIES[0]
    return agglomeration.average_linkage(similar, least, forbidden, initial_sets)[1]


def decoys(one: World, space, share: float = 0.1) -> np.ndarray:
    """The share of right links by decoys, at each level.

    It is one less links of a decoy over links of a node. A decoy takes each principal coordinate of
    a video's centred centroids from a tracklet of that video at random.
    """
    nodes, rng = one.nodes, np.random.default_rng(0)
    n = len(nodes)
    rest = nodes.centres - nodes.centres.mean(0)
    axes = np.linalg.eigh(rest.T @ rest)[1]
    rows = np.sort(rng.permutation(n)[: max(20, round(share * n))])
    mates = np.array(
        [rng.choice(np.flatnonzero(nodes.views == nodes.views[row]), len(axes)) for row in rows]
    )
    made = (rest @ axes)[mates, np.arange(len(axes))] @ axes.T + nodes.centres.mean(0)
    centres = np.concatenate([nodes.centres, unit(made)])
    videos = np.concatenate([nodes.views, nodes.views[rows]])
    points = centre_by_view(centres, videos, space.mean)
    for matrix in space.maps:
        points = unit(points @ matrix)
    forbidden = sparse.block_diag(
        [nodes.forbidden, sparse.csr_matrix((len(rows),) * 2, dtype=bool)], "csr", dtype=bool
    )
    initial_sets = np.append(nodes.initial_sets, np.arange(n, len(videos)))
    merges = merged(points, forbidden, initial_sets)
    i, j, similar, weight = sample_linked_pairs(merges, videos, initial_sets)
    of_nodes, of_decoys = (i < n) & (j < n), (i < n) != (j < n)
    links = 2 * belief.weight_above(similar[of_nodes], weight[of_nodes]) / n
    wrong = belief.weight_above(similar[of_decoys], weight[of_decoys]) / len(rows)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(1 - wrong / links, 0, 1)


def fitted(table: pd.DataFrame) -> np.ndarray:
    """Weights of least squared error of the share.

    Features as they are count twice, and so do worlds that are made.
    """
    table = table[(table.similarity < 0.67) & (table.links > np.log(5 / 300))]
    facts, true = table[list(belief.FACTS)].to_numpy(), table.true.to_numpy()
    twice = np.where(table.world.str.contains("noise|principal|roots|of them"), 1, np.sqrt(2))

    def error(weights: np.ndarray) -> np.ndarray:
        return np.append(twice * (belief.right_share(facts, weights) - true), 0.05 * weights)

    return least_squares(error, belief.WEIGHTS).x


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Errors of each regime, in the space that is linked in.

    They are given over the levels up to 0.65, and at the chosen one.
    """
    table = table[table.space == "after"].assign(
        regime=table.world.str.rsplit(" | ", n=1).str[0], error=table.believed - table.true,
        by_decoys=table.decoys - table.true,
    )  # fmt: skip
    wide, chosen = (
        table[table.similarity < 0.67].groupby("regime"),
        table[table.chosen].groupby("regime"),
    )
    return pd.DataFrame({
        "levels: error": wide.error.mean(), "size": wide.error.apply(lambda e: e.abs().mean()),
        "decoys' size": wide.by_decoys.apply(lambda e: e.abs().mean()),
        "chosen: believed": chosen.believed.mean(), "true": chosen.true.mean(),
        "largest error": chosen.error.apply(lambda e: e.abs().max()),
    })  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, help="the folder of a reproduced demo, as data")
    parser.add_argument(
        "--learn", action="store_true", help="learn the weights from the first half, and print them"
    )
    options = parser.parse_args()
    people = everybody()
    if options.learn:
        first = [*real(half(people, second=False), 0), *made(options.demo, 0)]
        print(fitted(pd.concat([told(one) for one in first], ignore_index=True)).round(2).tolist())
        return
    worlds = {"the second half": real(half(people, second=True), 10), "everybody": real(people, 20),
              "made": made(options.demo, 1)}  # fmt: skip
    for name, some in worlds.items():
        table = pd.concat([told(one) for one in some], ignore_index=True)
        print(f"\n{name}\n{summary(table).round(2).to_string()}")


if __name__ == "__main__":
    main()
