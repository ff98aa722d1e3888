"""What share of the links is right, without knowing who is who.

How many links there are at each level of similarity, and how alike strangers are in this footage, together tell it
well: where nobody comes again, neighbourhoods agree by chance about as often in any footage, and what is linked beyond
that is right. The weights were learnt on footage with known people (`python bench/belief.py` learns them anew, and says
how far off they are on people that they were not learnt from).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import expit, logit

from cion_core.denoise.linking import agglomeration
from cion_core.denoise.linking.nodes import Kept, Merges
from cion_core.denoise.linking.strangers import Strangers

LEVELS = np.arange(0.25, 0.81, 0.025)  # similarities at which belief is asked for
EACH = 16  # pairs of a merge that are looked at
COST = 0.6  # of a wrong link, in right ones: a link is worth taking if it is likelier right than three in eight
EVEN = 0.02  # a level worth this much less, in links for each tracklet, has 1/e of the best one's say
GOOD = 0.82  # share of right links beyond which no more are given up for a better one
LEAST_SURE, SURE = 0.6, 0.9  # shares of right links from which a space may be learnt: not at all, and in full
ERROR = 0.1  # how far off belief is, as a rule (bench/belief.py)
FACTS = ("links", "level", "rarity", "bend", "slope", "size")
WEIGHTS = np.array([1.70, 8.42, -0.62, 18.19, -3.80, 0.66, -12.78])  # of FACTS, and the constant

# Of the log odds of the share of right links from a similarity on, and of how far that lies above CLEAR, squared; and
# the constant: how likely a link of just this similarity is right (`python bench/reliability.py --learn`).
MARGIN = np.array([0.58, 23.3, -1.0])
CLEAR = 0.5


@dataclass(frozen=True)
class Belief:
    """At each of LEVELS: links [m], pairs of tracklets of different videos that are linked, for each tracklet;
    right [m], the share of them that is believed to be right, which grows with the level."""

    links: np.ndarray
    right: np.ndarray

    def share(self, level: float) -> float:
        """Share of right links among all that are at least this similar."""
        return float(np.interp(level, LEVELS, self.right))

    def best(self, good: float = GOOD) -> float:
        """The level at which links are worth most: right ones less COST for each wrong one. But the lowest at which
        the share `good` is right, if that is lower.

        Levels that are worth nearly as much have a say, the less the more they lack (EVEN), so that a little more
        belief moves the level a little, however far away the best one was before.
        """
        worth = ((1 + COST) * self.right - COST) * self.links
        say = np.exp((worth - worth.max()) / EVEN)
        return min(float(say @ LEVELS / say.sum()), self.reaching(good))

    def reaching(self, share: float) -> float:
        """The lowest level at which this share is right; infinity if none is."""
        reached = np.flatnonzero(self.right >= share)
        if not len(reached):
            return np.inf
        if not reached[0]:
            return float(LEVELS[0])
        around = slice(reached[0] - 1, reached[0] + 1)
        return float(np.interp(share, self.right[around], LEVELS[around]))

    def probability(self, similarity: np.ndarray) -> np.ndarray:
        """That a link is right which is made at this similarity, float64; it grows with the similarity."""
        return likely(np.interp(similarity, LEVELS, self.right), similarity, MARGIN)

    def arrays(self) -> Kept:
        """Itself as arrays by name, to be kept."""
        return {"belief": np.stack([self.links, self.right])}

    @classmethod
    def of_arrays(cls, kept: Kept) -> Belief | None:
        """What `arrays` gave; None if a threshold was given and nothing was asked."""
        return cls(*kept["belief"]) if "belief" in kept else None


def asked(
    similar: sparse.csr_matrix,
    videos: np.ndarray,
    forbidden: sparse.csr_matrix,
    start: np.ndarray,
    strangers: Strangers,
) -> tuple[Merges, Belief]:
    """The merges of average linkage on the similarities [n, n] down to the first of LEVELS, and what is `believed` of
    them; forbidden, start as for `agglomeration.average`."""
    _, merges = agglomeration.average(similar, LEVELS[0], forbidden, start)
    return merges, believed(merges, videos, start, strangers)


def believed(merges: Merges, videos: np.ndarray, start: np.ndarray, strangers: Strangers) -> Belief:
    """From the merges of average linkage down to the first of LEVELS, of nodes of `videos` int [n], which begin in the
    clusters `start` int [n] (the lowest node of each)."""
    links, known = facts(merges, videos, start, strangers)
    return Belief(links, np.maximum.accumulate(share(known, WEIGHTS)))


def facts(merges: Merges, videos: np.ndarray, start: np.ndarray, strangers: Strangers) -> tuple[np.ndarray, np.ndarray]:
    """Links for each node at each of LEVELS, [m], and FACTS of it, [m, F].

    links: their log; rarity: the mean over them of the log of how many strangers are as alike; bend, slope: of the
    strangers' tail, the slope at three standard deviations; size: the log of how many nodes there are.
    """
    i, j, level, weight = linked(merges, videos, start)
    n, total = len(videos), above(level, weight)
    strange = above(level, weight * strangers.expected(i, j))
    of_all = [strangers.tail[0], np.polyval(np.polyder(strangers.tail), 3), np.log(n)]
    known = [np.log((total + 0.5) / n), LEVELS, (strange + 1) / (total + 1)]  # one link more: of none nothing is known
    return total / n, np.stack(np.broadcast_arrays(*known, *of_all), 1)


def above(level: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The sum of the weights of links at each of LEVELS or above, float64 [m]."""
    order = np.argsort(-level, kind="stable")
    ends = np.searchsorted(-level[order], -LEVELS, side="right")
    return np.append(0, np.cumsum(weight[order]))[ends]


def share(facts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The share of right links from facts [m, F] and weights [F + 1], float64 [m]."""
    return np.clip(1.04 * expit(facts @ weights[:-1] + weights[-1]) - 0.02, 0.005, 0.995)


def likely(share: np.ndarray, similarity: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The probability that links of just these similarities are right, float64, from the share of right ones among
    all that are at least as similar, and weights [3]. To take differences of those shares would be to trust noise."""
    odds = logit(np.clip(share, 0.005, 0.995))
    return expit(weights[0] * odds + weights[1] * np.maximum(similarity - CLEAR, 0) ** 2 + weights[2])


def linked(
    merges: Merges, videos: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of nodes of different videos that merges put together: i, j, the similarity of the merge, and how many
    pairs each stands for. Of a merge of large clusters EACH pairs are drawn.

    Clusters are kept as stretches of one long row of nodes: a merge puts one stretch behind another.
    """
    n = len(videos)
    name, size = start.tolist(), np.bincount(start, minlength=n).tolist()
    after, last = _stretches(start)

    def cluster(node: int) -> int:
        while name[node] != node:
            name[node] = name[name[node]]
            node = name[node]
        return node

    told = np.empty((len(merges), 5))
    for row, (x, y, similarity) in enumerate(merges):
        a, b = cluster(x), cluster(y)
        told[row] = a, b, size[a], size[b], similarity
        after[last[a]], last[a], name[b] = b, last[b], a
        size[a] += size[b]
    place = _places(after, [node for node in range(n) if name[node] == node], n)
    a, b, first, second = told[:, :4].astype(np.int64).T
    pairs = first * second
    taken = np.minimum(pairs, EACH)
    merge = np.repeat(np.arange(len(merges)), taken)
    turn = np.arange(len(merge)) - np.repeat(np.cumsum(taken) - taken, taken)
    drawn = np.random.default_rng(0).integers(0, 1 << 62, len(merge)) % pairs[merge]
    one = np.where(pairs[merge] <= EACH, turn, drawn)
    row = np.argsort(place)
    i = row[place[a][merge] + one // second[merge]]
    j = row[place[b][merge] + one % second[merge]]
    apart = videos[i] != videos[j]
    weight = (pairs / np.maximum(taken, 1))[merge]
    return i[apart], j[apart], told[merge, 4][apart], weight[apart]


def _stretches(start: np.ndarray) -> tuple[list[int], list[int]]:
    """Whoever comes after each node in its cluster of `start` (-1: nobody), and the last of each, by its lowest."""
    order = np.argsort(start, kind="stable")
    inside = start[order[1:]] == start[order[:-1]]
    after, last = np.full(len(start), -1), np.arange(len(start))
    after[order[:-1][inside]] = order[1:][inside]
    np.maximum.at(last, start, np.arange(len(start)))
    return after.tolist(), last.tolist()


def _places(after: list[int], heads: list[int], n: int) -> np.ndarray:
    """The place of each node in the row: from each head on, whoever comes after, int64 [n]."""
    place, count = np.empty(n, np.int64), 0
    for node in heads:
        while node >= 0:
            place[node] = count
            count, node = count + 1, after[node]
    return place
