"""The bench of recipes: seeds are averaged by query, and the table says what is not chance."""

from __future__ import annotations

import numpy as np

from cion_core.evaluate.metrics import Scores


def test_a_query_counts_by_its_mean_over_seeds(bench) -> None:
    nothing = np.array([0.2, 0.1, np.nan])
    first = np.array([1, 2, 0])  # the last query has nothing to find
    seeds = [
        Scores(np.array([0.4, 0.8, np.nan]), nothing, first),
        Scores(np.array([0.6, 0.2, np.nan]), nothing, first),
    ]
    found = bench("recipes").averaged(seeds)
    np.testing.assert_allclose(found.ap, [0.5, 0.5, np.nan])
    assert found.valid.tolist() == [True, True, False]


def test_the_table_tells_gains_losses_and_chance_apart(bench) -> None:
    recipes = bench("recipes")
    before = np.array([10.0, 10.0, 10.0])
    gains = [
        recipes.Gain("first", "cion", before, np.array([14.0, 15.0, 16.0]), 4.0, 6.0, 0.001),
        recipes.Gain("first", "lup", before, np.array([9.0, 8.0, 7.0]), -3.0, -1.0, 0.02),
        recipes.Gain("second", "cion", before, np.array([11.0, 9.0, 11.5]), -0.5, 1.5, 0.3),
        # 0.03 alone would be real; beside 0.03 it is corrected to 0.06
        recipes.Gain("second", "lup", before, np.array([11.0, 11.0, 11.0]), 0.1, 1.9, 0.03),
        recipes.Gain("second", "dino", before, np.array([11.0, 11.0, 11.0]), 0.1, 1.9, 0.03),
    ]
    assert recipes.report(gains, 3).splitlines()[2:] == [
        "| first | cion | 10.0 | 15.0 ± 1.0 | +5.0 (4.0 to 6.0) | 3 of 3 | yes |",
        "| first | lup | 10.0 | 8.0 ± 1.0 | −2.0 (−3.0 to −1.0) | 0 of 3 | yes, a loss |",
        "| second | cion | 10.0 | 10.5 ± 1.3 | +0.5 (−0.5 to 1.5) | 2 of 3 | no |",
        "| second | lup | 10.0 | 11.0 | +1.0 (0.1 to 1.9) | 3 of 3 | no |",
        "| second | dino | 10.0 | 11.0 | +1.0 (0.1 to 1.9) | 3 of 3 | no |",
    ]
