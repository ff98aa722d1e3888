"""What share of the links is right, without knowing who is who.

Two things together tell it well: how many links there are at each similarity, and how alike
strangers are in this footage. Where nobody comes again, neighbourhoods agree by chance about
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
from cion_core.denoise.linking.agglomeration import SimilarityMerges
from cion_core.denoise.linking.linked_pairs import sample_linked_pairs
from cion_core.denoise.linking.nodes import RuleState
from cion_core.denoise.linking.strangers import Strangers

# Similarities at which belief is asked for.
SIMILARITIES = np.arange(0.25, 0.81, 0.025)
# What a wrong link costs, in right ones. A link is worth taking if it is right in three of eight
# cases.
COST = 0.6
# A similarity worth this much less (in links for each tracklet) has 1/e of the best one's weight.
EVEN = 0.02
# From this share of right links on, no links are given up for a better share.
GOOD = 0.82
# Shares of right links from which a space may be learnt: not at all, and in full.
LEAST_RELIABLE, RELIABLE = 0.6, 0.9
# How far off belief is, as a rule (bench/belief.py).
ERROR = 0.1
# What belief goes by (`measure_facts`), and how much each weighs; the last weight is the constant.
FACTS = ("links", "similarity", "rarity", "bend", "slope", "size")
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
        right: float [m], the share of them that is right; it grows with the similarity.
    """

    links: np.ndarray
    right: np.ndarray

    def share(self, least: float) -> float:
        """The share of right links among all that are at least this similar."""
        return float(np.interp(least, SIMILARITIES, self.right))

    def least_worthwhile(self, good: float = GOOD) -> float:
        """The similarity down to which it is best to link.

        That is where links are worth most: right ones less COST for each wrong one. It is a mean of
        all SIMILARITIES in which those count most that are worth nearly as much as the best (EVEN),
        so that a small change of belief moves it a little only.

        The result is at most the lowest similarity from which on the share `good` is right.
        """
        # right - COST * (1 - right), for each link.
        worth = ((1 + COST) * self.right - COST) * self.links
        lacking = worth.max() - worth
        weight = np.exp(-lacking / EVEN)
        weighted_mean = float(weight @ SIMILARITIES / weight.sum())
        return min(weighted_mean, self.lowest_with(good))

    def lowest_with(self, share: float) -> float:
        """The lowest similarity from which on this share is right; infinity if there is none."""
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

    def arrays(self) -> RuleState:
        """The belief as arrays by name."""
        return {"belief": np.stack([self.links, self.right])}

    @classmethod
    def of_arrays(cls, state: RuleState) -> Belief | None:
        """What `arrays` gave; None if the threshold was given, so that nothing was believed."""
        if "belief" not in state:
            return None
        links, right = state["belief"]
        return cls(links, right)


def assess_links(
    similar: sparse.csr_matrix,
    views: np.ndarray,
    forbidden: sparse.csr_matrix,
    initial_sets: np.ndarray,
    strangers: Strangers,
) -> tuple[SimilarityMerges, Belief]:
    """Link down to the first of SIMILARITIES, and say what is believed of these links.

    Args:
        similar: float32 [n, n].
        views: int [n].
        forbidden: bool [n, n].
        initial_sets: int [n], the lowest node of the set that each begins in.
        strangers: measured on the same nodes.

    Returns:
        The merges, and the belief in them.
    """
    _, merges = agglomeration.average_linkage(similar, SIMILARITIES[0], forbidden, initial_sets)
    return merges, believe(merges, views, initial_sets, strangers)


def believe(
    merges: SimilarityMerges, views: np.ndarray, initial_sets: np.ndarray, strangers: Strangers
) -> Belief:
    """The belief in merges of average linkage down to the first of SIMILARITIES."""
    links, facts = measure_facts(merges, views, initial_sets, strangers)
    right = np.maximum.accumulate(right_share(facts, WEIGHTS))
    return Belief(links, right)


def measure_facts(
    merges: SimilarityMerges, views: np.ndarray, initial_sets: np.ndarray, strangers: Strangers
) -> tuple[np.ndarray, np.ndarray]:
    """Measure what belief goes by.

    Args:
        merges: of average linkage down to the first of SIMILARITIES.
        views: int [n].
        initial_sets: int [n], the lowest node of the set that each begins in.
        strangers: measured on the same nodes.

    Returns:
        Links for each node at each of SIMILARITIES, float [m]; and FACTS, float [m, 6]:
        links: their log; similarity; rarity: the mean over them of the log of how many strangers
        are as alike; bend, slope: of the strangers' tail, the slope at three standard deviations;
        size: the log of how many nodes there are.
    """
    i, j, similarity, weight = sample_linked_pairs(merges, views, initial_sets)
    count = len(views)
    rarity_of_link = strangers.log_expected(i, j)
    total = weight_above(similarity, weight)
    expected = weight_above(similarity, weight * rarity_of_link)

    # Half a link is added before the log, and one link of rarity 1 to the mean, so that both exist
    # where there are no links.
    links = np.log((total + 0.5) / count)
    rarity = (expected + 1) / (total + 1)
    bend = strangers.tail[0]
    slope = np.polyval(np.polyder(strangers.tail), 3)
    facts = np.broadcast_arrays(links, SIMILARITIES, rarity, bend, slope, np.log(count))
    return total / count, np.stack(facts, 1)


def weight_above(similarity: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Add up the weights of links at each of SIMILARITIES or above, float64 [m].

    Args:
        similarity: float [k], of each link.
        weight: float [k].
    """
    order = np.argsort(-similarity, kind="stable")
    falling = similarity[order]
    how_many = np.searchsorted(-falling, -SIMILARITIES, side="right")
    total = np.append(0, np.cumsum(weight[order]))
    return total[how_many]


def right_share(facts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The share of right links from facts [m, F] and weights [F + 1], float64 [m]."""
    log_odds = facts @ weights[:-1] + weights[-1]
    # A little wider than 0 to 1, and cut there: shares near none and all are reached.
    share = 1.04 * expit(log_odds) - 0.02
    return np.clip(share, NEVER, ALWAYS)


def link_probability(share: np.ndarray, similarity: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How likely links of just these similarities are right.

    To take differences of the shares at neighbouring similarities instead would be to trust noise.

    Args:
        share: float [m], of right links among all that are at least as similar.
        similarity: float [m].
        weights: float [3], as MARGIN.

    Returns:
        float64 [m].
    """
    log_odds_of_share = logit(np.clip(share, NEVER, ALWAYS))
    clearness = np.maximum(similarity - CLEAR, 0) ** 2
    of_share, of_clearness, constant = weights
    return expit(of_share * log_odds_of_share + of_clearness * clearness + constant)
