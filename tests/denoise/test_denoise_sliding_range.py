"""The Sliding Range, published links against scipy, reciprocal ones position by position, and going on after a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from cion_core.denoise.linking import agglomeration as linkage, sliding_range as sliding
from cion_core.neighbours import search as nearest, k_reciprocal as reciprocal
from cion_core.denoise import noise
from cion_core.errors import CionError


def partition(label: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(label == name).tolist()) for name in np.unique(label)}


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 60), st.integers(2, 70), st.integers(1, 69))
def test_positions_cover_every_neighbourhood(n: int, size: int, stride: int) -> None:
    stride = min(stride, size - 1)
    found = list(sliding.positions(n, size, stride))
    assert all(len(rows) == min(size, n) for rows in found)
    assert set(np.concatenate(found)) == set(range(n))
    for a, b in pairwise(found):
        assert 1 <= b[0] - a[0] <= stride  # they overlap, so relations connect
    assert found[-1][-1] == n - 1


def test_positions_by_hand() -> None:
    spans = [(int(r[0]), int(r[-1])) for r in sliding.positions(10, 4, 3)]
    assert spans == [(0, 3), (3, 6), (6, 9)]
    assert [len(r) for r in sliding.positions(5, None, None)] == [5]
    with pytest.raises(CionError, match="stride 4 must be at least 1 and below the Sliding Range 4"):
        list(sliding.positions(10, 4, 4))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40), st.floats(0.01, 0.6))
def test_published_at_full_range_is_connected_components(seed: int, n: int, separation: float) -> None:
    points = noise.unit(np.random.default_rng(seed).normal(size=(n, 3)))
    linked = sliding.published(points, separation)
    graph = sparse.csr_matrix((1 - points @ points.T < separation) & ~np.eye(n, dtype=bool))
    count, expected = connected_components(graph)
    assert partition(linked.place) == partition(expected) and len(linked.merges) == n - count
    for size in (n, n + 5):
        if size >= 2:
            np.testing.assert_array_equal(sliding.published(points, separation, size=size).place, linked.place)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(4, 40), st.integers(2, 12))
def test_published_in_a_range_links_what_lies_in_one_position(seed: int, n: int, size: int) -> None:
    points = noise.unit(np.random.default_rng(seed).normal(size=(n, 3)))
    near = np.zeros((n, n), bool)
    for rows in sliding.positions(n, size, None):
        near[np.ix_(rows, rows)] = True
    graph = sparse.csr_matrix((1 - points @ points.T < 0.2) & near & ~np.eye(n, dtype=bool))
    label = sliding.published(points, 0.2, size=size).place
    assert partition(label) == partition(connected_components(graph)[1])


def test_published_stops_chains_at_cannot_links_and_the_radius() -> None:
    angles = np.deg2rad([0, 10, 20, 30])
    points = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    step = float(1 - np.cos(np.deg2rad(11)))
    assert sliding.published(points, step).place.tolist() == [0, 0, 0, 0]
    never = sparse.lil_matrix((4, 4), dtype=bool)
    never[0, 3] = never[3, 0] = True
    assert len(set(sliding.published(points, step, forbidden=never.tocsr()).place[[0, 3]])) == 2
    spread = sliding.published(points, step, radius=float(1 - np.cos(np.deg2rad(8)))).place
    assert len(set(spread.tolist())) == 2  # 5° in a pair, 10° in three, 15° in four


def test_the_range_follows_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = sliding.psutil.virtual_memory()
    assert sliding.fitting(512) > sliding.fitting(4096) > 1000
    monkeypatch.setattr(sliding.psutil, "virtual_memory", lambda: memory._replace(total=memory.total // 4))
    assert sliding.fitting(512) == pytest.approx(
        sliding.OF_MEMORY * memory.total / 4 / (sliding.PER_IDENTITY + 12 * 512), abs=1
    )


def people(seed: int, n: int = 12, each: int = 6, spread: float = 0.25) -> tuple[np.ndarray, np.ndarray]:
    """Unit points of n people, each seen several times, in random order, and whose they are."""
    rng = np.random.default_rng(seed)
    of = rng.permutation(np.repeat(np.arange(n), each))
    return noise.unit(rng.normal(size=(n, 16))[of] + spread * rng.normal(size=(n * each, 16))), of


def test_a_range_links_what_meets_in_some_position() -> None:
    points, of = people(0, spread=0.1)
    whole, narrow = sliding.link(points, 0.5), sliding.link(points, 0.5, size=48, stride=12)
    assert partition(whole.place) == partition(of)
    assert (of[narrow.place] == of).all() and len(narrow.merges) == len(points) - len(set(narrow.place))
    assert narrow.index.shape == whole.index.shape and (narrow.index[:, 0] == np.arange(len(points))).all()


def test_people_apart_stay_so_where_only_one_of_them_lies_in_the_position() -> None:
    points, of = people(1, n=4, each=30)
    never = sparse.lil_matrix((len(points), len(points)), dtype=bool)
    first, last = np.flatnonzero(of == 0)[[0, -1]]  # of one person, and far apart in the sequence
    never[first, last] = never[last, first] = True
    place = sliding.link(points, 0.3, never.tocsr(), size=40, stride=20).place
    assert place[first] != place[last] and (of[place] == of).all()


KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
from cion_core.denoise.linking import sliding_range as sliding

saves = 0
save = sliding._State.save

def then_die(self, path):
    global saves
    save(self, path)
    saves += 1
    if saves == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

sliding._State.save = then_die
sliding.link(np.load(sys.argv[1]), 0.3, size=30, stride=10, saved=Path(sys.argv[2]))
"""


@pytest.mark.parametrize(("saves", "searches"), [(4, 4), (5, 3)])  # six positions, each saved twice
def test_a_killed_run_goes_on_after_its_last_position(
    saves: int, searches: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = people(2)[0]
    expected = sliding.link(points, 0.3, size=30, stride=10)
    np.save(tmp_path / "points.npy", points)
    saved = tmp_path / "linking.npz"
    command = [sys.executable, "-c", KILLED, str(tmp_path / "points.npy"), str(saved), str(saves)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    calls, search = [], nearest.neighbours
    monkeypatch.setattr(nearest, "neighbours", lambda *a, **k: calls.append(1) or search(*a, **k))
    found = sliding.link(points, 0.3, size=30, stride=10, saved=saved)
    assert len(calls) == searches
    np.testing.assert_array_equal(found.place, expected.place)
    np.testing.assert_array_equal(found.index, expected.index)
    assert found.merges == expected.merges and found.close == expected.close
    calls.clear()
    sliding.link(points, 0.31, size=30, stride=10, saved=saved)  # other work takes nothing of it
    assert len(calls) == 6


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 60))
def test_extended_is_average_linkage_gone_on_with(seed: int, new: int) -> None:
    """Against the plain way: all similarities of all points, and the old sets to begin with."""
    points = people(seed, spread=0.7)[0]
    old = len(points) - new
    nobody = sparse.csr_matrix((len(points), len(points)), dtype=bool)
    before = sliding.link(points[:old], 0.3)
    found = sliding.extended(points, before.place, before.index, 0.3, nobody)
    graph = reciprocal.similarity(points, nearest.neighbours(points))
    start = np.concatenate([before.place, np.arange(old, len(points))])
    near = graph[old:, :old].toarray()  # old sets that are near no new point are left as they are
    means = np.stack([near[:, before.place == name].mean(1) for name in before.place])
    met = np.unique(before.place[(means >= 0.3).any(1)])
    rows = np.concatenate([np.flatnonzero(np.isin(found.place[:old], met)), np.arange(old, len(points))])
    label, _ = linkage.average(graph[rows][:, rows], 0.3, start=start[rows])
    expected = start.copy()
    expected[rows] = rows[label]
    np.testing.assert_array_equal(found.place, expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 50), st.sampled_from([None, 0.3]))
def test_extended_parts_nothing_and_joins_nobody_seen_together(seed: int, new: int, radius: float | None) -> None:
    points = people(seed, spread=0.7)[0]
    n, old = len(points), len(points) - new
    never = np.triu(np.random.default_rng(seed).random((n, n)) < 0.05, 1)
    never[:old, old:] = False
    never = sparse.csr_matrix(never | never.T)
    before = sliding.link(points[:old], 0.2, never[:old, :old], radius=radius)
    place = sliding.extended(points, before.place, before.index, 0.2, never, radius).place
    i, j = never.nonzero()
    assert (place[i] != place[j]).all() and (place[place] == place).all()
    assert (place[before.place] == place[:old]).all()
    if radius:
        for rows in partition(place):
            part = points[list(rows)]
            assert (1 - part @ noise.unit(part.sum(0, keepdims=True))[0]).max() <= radius + 1e-5


def test_a_new_point_between_two_sets_joins_them_and_is_published_alike() -> None:
    angles = np.deg2rad([0, 20, 40, 10])
    points = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    step = float(1 - np.cos(np.deg2rad(11)))
    nobody = sparse.csr_matrix((4, 4), dtype=bool)
    found = sliding.extended_published(points, np.arange(3), step, None, nobody)
    assert found.place.tolist() == [0, 0, 2, 0] and len(found.merges) == 2
    apart = sparse.csr_matrix(([True, True], ([0, 1], [1, 0])), shape=(4, 4))
    assert len(set(sliding.extended_published(points, np.arange(3), step, None, apart).place[:2].tolist())) == 2
