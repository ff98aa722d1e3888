"""The bench of clusters: its scores by hand, and a run on made-up people."""

import subprocess
import sys

import numpy as np


def test_scores_by_hand(bench):
    people = np.array([1, 1, 1, 2, 2, 3])
    cameras = np.array([1, 1, 2, 1, 2, 1])
    # one right pair, across cameras, and two wrong ones
    found = bench("clusters").scores(np.array([-1, 5, 5, 5, -1, -1]), people, cameras)
    assert found["precision"] == 1 / 3 and found["recall"] == 1 / 4 and found["F1"] == 2 / 7
    assert found["recall across"] == 1 / 3 and (found["clusters"], found["outliers"]) == (1, 3)


def test_images_of_one_camera_are_merged_and_no_others(bench):
    rng = np.random.default_rng(0)
    person, camera = np.repeat(np.arange(6), 8), np.tile([1, 2], 24)
    features = rng.normal(size=(6, 32))[person] + 0.05 * rng.normal(size=(48, 32))
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    groups = bench("clusters").merged(features, camera)
    assert sorted(np.unique(groups)) == list(range(groups.max() + 1))
    for group in range(groups.max() + 1):
        assert len(set(zip(person[groups == group], camera[groups == group], strict=True))) == 1
    assert groups.max() + 1 < 48


def test_it_prints_a_row_for_every_way_and_regime(bench, project, tmp_path):
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(24), 12)
    n = len(person)
    features = rng.normal(size=(24, 32))[person] + 0.4 * rng.normal(size=(n, 32))
    columns = {
        "camera": 1 + np.arange(n) % 6,
        "sequence": np.ones(n),
        "frame": np.arange(n),
        "tracklet": np.arange(n),
    }
    np.savez(tmp_path / "made.npz", features=features.astype(np.float16), person=person, **columns)

    def run(file):
        words = [sys.executable, "bench/clusters.py", "--footage", str(tmp_path / file)]
        done = subprocess.run(words, cwd=project, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    lines = run("made.npz")
    assert len(lines) == 1 + len(bench("clusters").WAYS) * len(bench("clusters").REGIMES)
    assert sum("linking, cameras' means off" in line for line in lines) == 5
    assert run("other.npz")[0].startswith("skipped: no real tracklets, ")
