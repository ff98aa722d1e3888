"""How sure a score is, and whether two models differ. Pure: arrays in, arrays out.

A score is a mean over queries, and other people as queries would give another one. The gallery
stays as it is: what is told is how sure a score is *in this gallery*, with one training of the
model.

**People are what is resampled, with all their queries**, not queries: who is hard to find under one
camera is hard to find under the next. Measured on simulated queries like Market-1501's (750 people,
1 to 6 queries each), with a third of the variance of difficulty the person's (`python
bench/certainty.py`, 1,000 runs)::

                                                        queries drawn    people drawn
    an interval of mAP that says 95 % holds the truth            83 %            95 %
    a test at 5 % finds a difference where none is               18 %             6 %

Where queries are independent the two do equally well. With 12 people the interval holds the truth
in 90 %: of few people it still says too much.

The interval is the percentile bootstrap's (Efron & Tibshirani, "An Introduction to the Bootstrap",
1993, ch. 13); over clusters: Field & Welsh, "Bootstrapping clustered data", JRSS B 2007. The test
flips signs: had the two models nothing between them, each person's differences might as well have
come out the other way round. That is exact with few people where the bootstrap is not, and asks
nothing of the distribution but that (Good, "Permutation, Parametric and Bootstrap Tests of
Hypotheses", 2005, section 3.2; for retrieval: Smucker et al., CIKM 2007). The observed order counts
as one of the draws, so no p-value is 0 (Phipson & Smyth, "Permutation P-values should never be
zero", 2010).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cion_core.evaluate.metrics import METRICS, Scores

# How often is drawn.
DRAWS = 2000
# How many draws are in memory at once.
BLOCK = 250
# Intervals hold 95 %; two models differ where p is below 5 %.
LEVEL = 0.05


def intervals(
    scores: Scores, person: np.ndarray, seed: int = 0
) -> dict[str, dict[str, float | None]]:
    """Each metric with its 95 % interval.

    Args:
        scores: of Q queries.
        person: int [Q], who is on each query.
        seed: of the draws.

    Returns:
        {metric: {value, low, high}} in percent, over the queries that have something to find, for
        each of METRICS; `low` and `high` None where the queries show one person only, of whom
        nothing can be said but the value.

    Raises:
        ValueError: no query has anything to find.
    """
    sums, counts = _sum_by_person(_percent(scores), person[scores.findable])
    value = _mean(sums, counts)
    low, high = _interval(sums, counts, seed)
    return {
        metric: {"value": float(value[place]), "low": low[place], "high": high[place]}
        for place, metric in enumerate(METRICS)
    }


def paired(
    one: Scores, other: Scores, person: np.ndarray, seed: int = 0
) -> dict[str, dict[str, float | bool | None]]:
    """What one model has more than another on the same queries.

    Both see the same draws of people.

    Args:
        one: scores of Q queries.
        other: scores of the same queries by the other model.
        person: int [Q], who is on each query.
        seed: of the draws.

    Returns:
        {metric: {difference, low, high, p, differs}} in percentage points. `p` is two-sided, of
        sign flips of people; `differs` is p < 0.05 for this one comparison: of several, correct the
        p-values first (`holm`).

    Raises:
        ValueError: the two have not the same queries with something to find.
    """
    if not np.array_equal(one.findable, other.findable):
        raise ValueError(_say_unpaired(one, other))
    differences = _percent(one) - _percent(other)
    sums, counts = _sum_by_person(differences, person[one.findable])
    difference = _mean(sums, counts)
    low, high = _interval(sums, counts, seed)
    p = _sign_flip_test(sums, seed)
    return {
        metric: {
            "difference": float(difference[place]),
            "low": low[place],
            "high": high[place],
            "p": float(p[place]),
            "differs": bool(p[place] < LEVEL),
        }
        for place, metric in enumerate(METRICS)
    }


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Correct the p-values of several comparisons.

    With p below 5 % afterwards, 5 % is the chance of *any* false difference.

    Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 1979: the
    smallest is multiplied by n, the next by n - 1, and so on, and none may be below one that was
    smaller: (0.01, 0.04, 0.03) becomes (0.03, 0.06, 0.06). Comparisons may depend on one another,
    as those of many models with one do. (Where that one was chosen as the best of them by these
    very queries, it is flattered, and no correction of p-values takes that back.)

    Args:
        p: n p-values.

    Returns:
        float64 [n].
    """
    p = np.asarray(p, float)
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    adjusted = np.maximum.accumulate(p[order] * factors)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(adjusted, 1)
    return corrected


def _percent(scores: Scores) -> np.ndarray:
    """What each findable query adds to each of METRICS, float64 [F, M]."""
    columns = list(scores.by_metric().values())
    table = np.column_stack(columns)
    return 100.0 * table[scores.findable]


def _sum_by_person(values: np.ndarray, person: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the queries of each person [P, M], and how many they are [P]."""
    _, place, counts = np.unique(person, return_inverse=True, return_counts=True)
    sums = [np.bincount(place, column, len(counts)) for column in values.T]
    return np.column_stack(sums), counts


def _mean(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return sums.sum(axis=0) / counts.sum()


def _interval(
    sums: np.ndarray, counts: np.ndarray, seed: int
) -> tuple[list[float | None], list[float | None]]:
    """The ends of the percentile interval of each metric, of people drawn with replacement."""
    people = len(counts)
    if people < 2:
        nothing: list[float | None] = [None] * sums.shape[1]
        return nothing, nothing
    means = []
    for rng, draws in _blocks_of_draws(seed):
        # How often each person is drawn: counted in one go, with numbers of their own for each
        # draw.
        first_number = people * np.arange(draws)[:, None]
        drawn = rng.integers(people, size=(draws, people)) + first_number
        times = np.bincount(drawn.ravel(), minlength=draws * people).reshape(draws, people)
        queries = (times @ counts)[:, None]
        means.append((times @ sums) / queries)
    ends = (LEVEL / 2, 1 - LEVEL / 2)
    low, high = np.quantile(np.concatenate(means), ends, axis=0)
    return low.tolist(), high.tolist()


def _sign_flip_test(sums: np.ndarray, seed: int) -> np.ndarray:
    """The two-sided p-value of each metric's total, float64 [M].

    That is the share of sign flips of people that make the total at least as large as it is.
    """
    # The difference is the total over a number of queries that no flip changes, so totals are
    # compared. The observed total is met again, added up in another order, so it has to count
    # within rounding.
    people, metrics = sums.shape
    total = np.abs(sums.sum(axis=0))
    observed = total * (1 - 1e-9)
    as_large = np.zeros(metrics)
    for rng, draws in _blocks_of_draws(seed):
        signs = rng.integers(2, size=(draws, people)) * 2.0 - 1
        flipped = np.abs(signs @ sums)
        as_large += (flipped >= observed).sum(axis=0)
    return (1 + as_large) / (1 + DRAWS)


def _blocks_of_draws(seed: int) -> Iterator[tuple[np.random.Generator, int]]:
    """A generator, and how many draws to make of it next, until there are DRAWS."""
    rng = np.random.default_rng(seed)
    for start in range(0, DRAWS, BLOCK):
        yield rng, min(BLOCK, DRAWS - start)


def _say_unpaired(one: Scores, other: Scores) -> str:
    needed = "a pair needs the same queries"
    if len(one.first) != len(other.first):
        return f"{needed}: one model has {len(one.first)}, the other {len(other.first)}"
    rows = np.flatnonzero(one.findable != other.findable)
    return f"{needed}: only one model has something to find for {len(rows)}, first row {rows[0]}"
