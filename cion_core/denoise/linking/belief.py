"""What share of the links is right, without knowing who is who.

Two things together tell it well: how many links there are at each level of similarity, and how
alike strangers are in this footage. Where nobody comes again, neighbourhoods agree by chance about
as often in any footage; what is linked beyond that is right. The weights were learnt on footage
with known people (`python bench/belief.py` learns them anew, and says how far off they are on
people that they were not learnt from).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import expit, logit

from cion_core.denoise.linking import agglomeration
from cion_core.denoise.linking.linked_pairs import sample_linked_pairs
from cion_core.denoise.linking.nodes import Kept, Merges
from cion_core.denoise.linking.strangers import Strangers

# Similarities at which belief is asked for.
SIMILARITIES = np.arange(0.25, 0.81, 0.025)
# What a wrong link costs, in right ones. A link is worth taking if it is right in three of eight
# cases.
COST = 0.6
# A level worth this much less (in links for each tracklet) has 1/e of the best one's say.
EVEN = 0.02
# From this share of right links on, no links are given up for a better share.
GOOD = 0.82
# Shares of right links from which a space may be learnt: not at all, and in full.
LEAST_SURE, SURE = 0.6, 0.9
# How far off belief is, as a rule (bench/belief.py).
ERROR = 0.1
# What belief goes by (`measure_facts`), and how much each weighs; the last weight is the constant.
FACTS = ("links", "level", "rarity", "bend", "slope", "size")
WEIGHTS = np.array([1.70, 8.42, -0.62, 18.19, -3.80, 0.66, -12.78])

# How likely a link of just this similarity is right: weights of the log odds of the share of right
# links from there on, of how far the similarity lies above CLEAR, squared, and the constant
# (`python bench/reliability.py --learn`).
MARGIN = np.array([0.58, 23.3, -1.0])
CLEAR = 0.5

# Probabilities are kept away from never and always.
NEVER, ALWAYS = 0.005, 0.995


@dataclass(frozen=True)
class Belief:
    """What is believed of the links at each of SIMILARITIES and above.

    Args:
        links: float [m], pairs of tracklets of different videos that are linked, for each tracklet.
        right: float [m], the share of them that is right; it grows with the level.
    """

    links: np.ndarray
    right: np.ndarray

    def share(self, level: float) -> float:
        """The share of right links among all that are at least this similar."""
        return float(np.interp(level, SIMILARITIES, self.right))

    def best(self, good: float = GOOD) -> float:
        """The level at which links are worth most: right ones less COST for each wrong one.

        But the lowest level at which the share `good` is right, if that is lower. Levels that are
        worth nearly as much have a say, the less the more they lack (EVEN). So a little more belief
        moves the level a little, however far away the best one was before.
        """
        # right - COST * (1 - right), for each link.
        worth = ((1 + COST) * self.right - COST) * self.links
        say = np.exp((worth - worth.max()) / EVEN)
        weighed = float(say @ SIMILARITIES / say.sum())
        return min(weighed, self.lowest_with(good))

    def lowest_with(self, share: float) -> float:
        """The lowest level at which this share is right; infinity if none is."""
        enough = np.flatnonzero(self.right >= share)
        if not len(enough):
            return np.inf
        first = enough[0]
        if not first:
            return float(SIMILARITIES[0])
        around = slice(first - 1, first + 1)
        return float(np.interp(share, self.right[around], SIMILARITIES[around]))

    def probability(self, similarity: np.ndarray) -> np.ndarray:
        """How likely links made at these similarities are right, float64; it grows with them."""
        share = np.interp(similarity, SIMILARITIES, self.right)
        return link_probability(share, similarity, MARGIN)

    def arrays(self) -> Kept:
        """Itself as arrays by name, to be kept."""
        return {"belief": np.stack([self.links, self.right])}

    @classmethod
    def of_arrays(cls, kept: Kept) -> Belief | None:
        """What `arrays` gave; None if a threshold was given and nothing was asked."""
        if "belief" not in kept:
            return None
        return cls(*kept["belief"])


def assess_links(
    similar: sparse.csr_matrix,
    videos: np.ndarray,
    forbidden: sparse.csr_matrix,
    start: np.ndarray,
    strangers: Strangers,
) -> tuple[Merges, Belief]:
    """Link down to the first of SIMILARITIES, and say what is believed of these links.

    Args:
        similar: float32 [n, n].
        videos: int [n].
        forbidden: bool [n, n].
        start: int [n], the lowest node of the cluster that each begins in.
        strangers: measured on the same nodes.

    Returns:
        The merges, and the belief in them.
    """
    _, merges = agglomeration.average_linkage(similar, SIMILARITIES[0], forbidden, start)
    return merges, believe(merges, videos, start, strangers)


def believe(merges: Merges, videos: np.ndarray, start: np.ndarray, strangers: Strangers) -> Belief:
    """The belief in merges of average linkage down to the first of SIMILARITIES."""
    links, facts = measure_facts(merges, videos, start, strangers)
    right = np.maximum.accumulate(right_share(facts, WEIGHTS))
    return Belief(links, right)


def measure_facts(
    merges: Merges, videos: np.ndarray, start: np.ndarray, strangers: Strangers
) -> tuple[np.ndarray, np.ndarray]:
    """Measure what belief goes by.

    Args:
        merges: of average linkage down to the first of SIMILARITIES.
        videos: int [n].
        start: int [n], the lowest node of the cluster that each begins in.
        strangers: measured on the same nodes.

    Returns:
        Links for each node at each of SIMILARITIES, float [m]; and FACTS, float [m, 6]:
        links: their log; level: the similarity; rarity: the mean over them of the log of how many
        strangers are as alike; bend, slope: of the strangers' tail, the slope at three standard
        deviations; size: the log of how many nodes there are.
    """
    i, j, level, weight = sample_linked_pairs(merges, videos, start)
    count = len(videos)
    total = weight_above(level, weight)
    expected = weight_above(level, weight * strangers.log_expected(i, j))

    # One link more than there are: of none nothing is known.
    links = np.log((total + 0.5) / count)
    rarity = (expected + 1) / (total + 1)
    bend = strangers.tail[0]
    slope = np.polyval(np.polyder(strangers.tail), 3)
    facts = np.broadcast_arrays(links, SIMILARITIES, rarity, bend, slope, np.log(count))
    return total / count, np.stack(facts, 1)


def weight_above(level: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Add up the weights of links at each of SIMILARITIES or above, float64 [m].

    Args:
        level: float [k], the similarity of each link.
        weight: float [k].
    """
    order = np.argsort(-level, kind="stable")
    how_many = np.searchsorted(-level[order], -SIMILARITIES, side="right")
    total = np.append(0, np.cumsum(weight[order]))
    return total[how_many]


def right_share(facts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The share of right links from facts [m, F] and weights [F + 1], float64 [m]."""
    odds = facts @ weights[:-1] + weights[-1]
    # A little wider than 0 to 1, and cut there: shares near none and all are reached.
    return np.clip(1.04 * expit(odds) - 0.02, NEVER, ALWAYS)


def link_probability(share: np.ndarray, similarity: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How likely links of just these similarities are right.

    To take differences of the shares of neighbouring levels instead would be to trust noise.

    Args:
        share: float [m], of right links among all that are at least as similar.
        similarity: float [m].
        weights: float [3], as MARGIN.

    Returns:
        float64 [m].
    """
    odds_of_share = logit(np.clip(share, NEVER, ALWAYS))
    clearness = np.maximum(similarity - CLEAR, 0) ** 2
    return expit(weights[0] * odds_of_share + weights[1] * clearness + weights[2])
