"""The bench of linking rules: FINCH by its definition, the threshold for all, small runs."""

import re
import shutil
import subprocess
import sys
from itertools import combinations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components


def unit(points: np.ndarray) -> np.ndarray:
    return (points / np.linalg.norm(points, axis=-1, keepdims=True)).astype(np.float32)


def angles(*degrees: float) -> np.ndarray:
    return unit(np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], 1))


def partition(label: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(label == name).tolist()) for name in np.unique(label)}


def test_finch_joins_first_neighbours_and_goes_on_with_the_means(bench):
    rule = bench("peers").finch(angles(0, 1, 3, 20, 22, 90, 95))
    assert partition(rule(1)) == {frozenset({0, 1, 2}), frozenset({3, 4}), frozenset({5, 6})}
    # 1.3 and 21 are nearest to each other, 92.5 to 21.
    assert partition(rule(2)) == {frozenset(range(7))}
    assert partition(rule(3)) == partition(rule(2))


@given(st.integers(0, 1000), st.integers(2, 12))
def test_the_first_partition_is_that_of_equation_1(bench, seed, n):
    points = unit(np.random.default_rng(seed).standard_normal((n, 3)))
    apart = 1 - points @ points.T + 9 * np.eye(n)
    nearest = apart.argmin(1)
    linked = np.zeros((n, n), bool)
    for i, j in combinations(range(n), 2):
        linked[i, j] = j == nearest[i] or nearest[j] == i or nearest[i] == nearest[j]
    expected = connected_components(linked, directed=False)[1]
    assert partition(bench("peers").finch(points)(1)) == partition(expected)


def test_one_threshold_for_all_is_that_of_the_highest_mean_and_nobody_has_no_say(bench, capsys):
    f1 = {
        "all": {0.1: 0.9, 0.2: 0.6},
        "two cameras": {0.1: 0.1, 0.2: 0.6},
        "nobody comes twice": {0.1: 1.0, 0.2: 0.0},
    }
    rows = [
        {
            "regime": regime,
            "seed": seed,
            "tracklets": 5,
            "true": 3,
            "rule": "mine",
            "threshold": t,
            "f1": score + seed / 10,
            "wrong": 7 * t,
        }
        for regime, scores in f1.items()
        for t, score in scores.items()
        for seed in range(1 + (regime != "all"))
    ]
    bench("linking").tell(pd.DataFrame(rows))
    best, fixed = [
        line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("mine")
    ]
    assert best == ["mine", "0.90", "0.65", "±", "0.07"]
    # at 0.2: all, two cameras over two draws, wrong links where nobody comes twice, and the mean of
    # the first two
    assert fixed[:3] == ["mine", "0.20", "0.60"] and fixed[-1] in ("0.62", "0.63")
    assert "1.40 ± 0.00" in " ".join(fixed) and "0.65 ± 0.07" in " ".join(fixed)


def run(script, folder, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, script, *options], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_prints_a_row_for_every_rule(project):
    lines = run("bench/linking.py", project, "--people", "12").splitlines()
    assert re.match(r"\d+ tracklets, \d+ videos, 12 people, seed 0", lines[0])
    assert len(lines) == 2 + 13 + 2 and sum("FINCH" in line for line in lines) == 2
    assert all(0 < float(line.split()[-2]) <= 1 for line in lines[2:])


def test_without_real_tracklets_it_says_so(project, tmp_path, monkeypatch):
    shutil.copytree(project / "bench", tmp_path / "project/bench")
    monkeypatch.setenv("PYTHONPATH", str(project))
    assert run("bench/linking.py", tmp_path / "project", "--footage").startswith(
        "skipped: no real tracklets"
    )
