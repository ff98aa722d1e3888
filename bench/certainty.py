"""Do 95 % intervals hold the truth, and does a test at 5 % err in 5 %?

What is drawn is people, or queries.

Queries are simulated as on Market-1501 (750 people, 1 to 6 queries each) and on small sets. How
hard somebody is to find varies from person to person by a share of the variance of AP, and so does
the difference of two models that are equally good on the whole.

python bench/certainty.py      five minutes on one core
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from cion_core.evaluate.certainty import intervals, paired
from cion_core.evaluate.metrics import Scores

RUNS = 1000


def simulated(
    rng: np.random.Generator, person: np.ndarray, looks: np.ndarray, share: float
) -> Scores:
    """Scores of queries: a logit of what their person and their own draw make of them.

    `looks` [P] says how hard each person is to find.
    """
    own = np.sqrt(1 - share) * rng.normal(size=len(person))
    ap = expit(0.5 + 2 * (np.sqrt(share) * looks[person] + own))
    return Scores(ap, ap / 2, np.where(ap > 0.5, 1, 20))


def people_of(rng: np.random.Generator, people: int) -> np.ndarray:
    """Who is on each query, int [Q]."""
    return np.repeat(np.arange(people), rng.integers(1, 7, people))


def truth(share: float) -> np.ndarray:
    """mAP and rank1 over everybody there is.

    Any share gives the same: the sum of two normals has one distribution.
    """
    rng = np.random.default_rng(99)
    scores = simulated(rng, np.arange(1_000_000), rng.normal(size=1_000_000), share)
    return np.array([100 * scores.ap.mean(), 100 * (scores.first == 1).mean()])


def measured(people: int, share: float) -> dict[str, float]:
    """How often intervals hold the truth, and how often a false difference is found, in %."""
    rng, wanted, held, found = (
        np.random.default_rng(1),
        truth(share),
        np.zeros((2, 2)),
        np.zeros((2, 2)),
    )
    for run in range(RUNS):
        person = people_of(rng, people)
        one, other = (simulated(rng, person, rng.normal(size=people), share) for _ in range(2))
        for i, unit in enumerate((np.arange(len(person)), person)):
            told, both = intervals(one, unit, run), paired(one, other, unit, run)
            for j, metric in enumerate(("mAP", "rank1")):
                held[i, j] += told[metric]["low"] <= wanted[j] <= told[metric]["high"]
                found[i, j] += both[metric]["differs"]
    return {
        f"{what} {metric}, {unit}": 100 * counts[i, j] / RUNS
        for what, counts in (("holds", held), ("differs", found))
        for j, metric in enumerate(("mAP", "rank1"))
        for i, unit in enumerate(("queries", "people"))
    }


def main() -> None:
    cases = [(750, 0.0), (750, 1 / 3), (750, 2 / 3), (50, 1 / 3), (12, 1 / 3)]
    for people, share in cases:
        numbers = measured(people, share)
        print(f"{people} people, {100 * share:.0f} % of the variance the person's")
        print(
            "  " + "; ".join(f"{name} {value:.1f} %" for name, value in numbers.items()), flush=True
        )


if __name__ == "__main__":
    main()
