"""The Sliding Range, average linkage position by position, and going on after a kill."""

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

from cion_core.denoise.linking import agglomeration, sliding_range
from cion_core.denoise.linking.sliding_range import Range
from cion_core.errors import CionError
from cion_core.neighbours import search
from cion_core.neighbours.arrays import unit
from cion_core.neighbours.similarity import similarity


def partition(label: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(label == name).tolist()) for name in np.unique(label)}


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 60), st.integers(2, 70), st.integers(1, 69))
def test_positions_cover_every_neighbourhood(n: int, size: int, stride: int) -> None:
    stride = min(stride, size - 1)
    found = list(Range(size, stride).positions(n))
    assert all(len(rows) == min(size, n) for rows in found)
    assert set(np.concatenate(found)) == set(range(n))
    for a, b in pairwise(found):
        assert 1 <= b[0] - a[0] <= stride  # they overlap, so relations connect
    assert found[-1][-1] == n - 1


def test_positions_by_hand() -> None:
    spans = [(int(r[0]), int(r[-1])) for r in Range(4, 3).positions(10)]
    assert spans == [(0, 3), (3, 6), (6, 9)]
    assert [len(r) for r in Range(None, None).positions(5)] == [5]
    with pytest.raises(
        CionError, match="stride 4 must be at least 1 and below the Sliding Range 4"
    ):
        list(Range(4, 4).positions(10))


def test_the_range_follows_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = sliding_range.psutil.virtual_memory()
    assert sliding_range.largest_fitting(512) > sliding_range.largest_fitting(4096) > 1000
    monkeypatch.setattr(
        sliding_range.psutil, "virtual_memory", lambda: memory._replace(total=memory.total // 4)
    )
    assert sliding_range.largest_fitting(512) == pytest.approx(
        sliding_range.MEMORY_SHARE * memory.total / 4 / (sliding_range.BYTES_PER_NODE + 12 * 512),
        abs=1,
    )


def people(
    seed: int, n: int = 12, each: int = 6, spread: float = 0.25
) -> tuple[np.ndarray, np.ndarray]:
    """Unit points of n people, each seen several times, in random order, and whose they are."""
    rng = np.random.default_rng(seed)
    of = rng.permutation(np.repeat(np.arange(n), each))
    return unit(rng.normal(size=(n, 16))[of] + spread * rng.normal(size=(n * each, 16))), of


def test_a_range_links_what_meets_in_some_position() -> None:
    points, of = people(0, spread=0.1)
    whole, narrow = (
        sliding_range.link(points, 0.5),
        sliding_range.link(points, 0.5, sliding=Range(48, 12)),
    )
    assert partition(whole.sets) == partition(of)
    assert (of[narrow.sets] == of).all() and len(narrow.merges) == len(points) - len(
        set(narrow.sets)
    )
    assert (
        narrow.rule_state["index"].shape == whole.rule_state["index"].shape
        and (narrow.rule_state["index"][:, 0] == np.arange(len(points))).all()
    )


def test_people_apart_stay_so_where_only_one_of_them_lies_in_the_position() -> None:
    points, of = people(1, n=4, each=30)
    never = sparse.lil_matrix((len(points), len(points)), dtype=bool)
    first, last = np.flatnonzero(of == 0)[[0, -1]]  # of one person, and far apart in the sequence
    never[first, last] = never[last, first] = True
    place = sliding_range.link(points, 0.3, never.tocsr(), sliding=Range(40, 20)).sets
    assert place[first] != place[last] and (of[place] == of).all()


KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
from cion_core.denoise.linking import sliding_range
from cion_core.denoise.linking.saved_progress import Progress

saves = 0
save = Progress.save

def then_die(self, path):
    global saves
    save(self, path)
    saves += 1
    if saves == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

Progress.save = then_die
points, saved = np.load(sys.argv[1]), Path(sys.argv[2])
sliding_range.link(points, 0.3, sliding=sliding_range.Range(30, 10), saved=saved)
"""


@pytest.mark.parametrize(("saves", "searches"), [(4, 4), (5, 3)])  # six positions, each saved twice
def test_a_killed_run_goes_on_after_its_last_position(
    saves: int, searches: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = people(2)[0]
    expected = sliding_range.link(points, 0.3, sliding=Range(30, 10))
    np.save(tmp_path / "points.npy", points)
    saved = tmp_path / "linking.npz"
    command = [sys.executable, "-c", KILLED, str(tmp_path / "points.npy"), str(saved), str(saves)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    calls, plain = [], search.neighbours
    monkeypatch.setattr(search, "neighbours", lambda *a, **k: calls.append(1) or plain(*a, **k))
    found = sliding_range.link(points, 0.3, sliding=Range(30, 10), saved=saved)
    assert len(calls) == searches
    np.testing.assert_array_equal(found.sets, expected.sets)
    np.testing.assert_array_equal(found.rule_state["index"], expected.rule_state["index"])
    assert found.merges == expected.merges and found.close == expected.close
    calls.clear()
    # Work at another limit takes nothing of what was saved.
    sliding_range.link(points, 0.31, sliding=Range(30, 10), saved=saved)
    assert len(calls) == 6


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 60))
def test_sets_to_begin_with_are_average_linkage_gone_on_with(seed: int, sets: int) -> None:
    points = people(seed, spread=0.7)[0]
    n = len(points)
    start = agglomeration.lowest_of_each(np.random.default_rng(seed).integers(0, sets, n))
    found = sliding_range.link(points, 0.2, initial_sets=start)
    graph = similarity(points, search.neighbours(points))
    label, merges = agglomeration.average_linkage(graph, 0.2, initial_sets=start)
    np.testing.assert_array_equal(found.sets, label)
    assert [(i, j) for i, j, _ in found.merges] == [(i, j) for i, j, _ in merges]
    assert np.isin([merge[:2] for merge in found.merges], start).all()
    # Sets may lie across positions.
    moved = sliding_range.link(points, 0.2, sliding=Range(40), initial_sets=start)
    assert (moved.sets[start] == moved.sets).all() and np.isin(
        [m[:2] for m in moved.merges], start
    ).all()


def test_what_began_in_other_sets_is_not_gone_on_from(tmp_path: Path) -> None:
    points, saved = people(0)[0], tmp_path / "saved.npz"
    start = np.arange(len(points))
    alone = sliding_range.link(points, 0.99, saved=saved, initial_sets=start)
    start[1] = 0
    assert (
        alone.sets[1] == 1
        and sliding_range.link(points, 0.99, saved=saved, initial_sets=start).sets[1] == 0
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 60))
def test_extended_is_average_linkage_gone_on_with(seed: int, new: int) -> None:
    """Against the plain way: all similarities of all points, and the old sets to begin with."""
    points = people(seed, spread=0.7)[0]
    old = len(points) - new
    nobody = sparse.csr_matrix((len(points), len(points)), dtype=bool)
    before = sliding_range.link(points[:old], 0.3)
    start = np.concatenate([before.sets, np.arange(old, len(points))])
    found = sliding_range.extend(points, start, before.rule_state["index"], 0.3, nobody)
    graph = similarity(points, search.neighbours(points))
    near = graph[old:, :old].toarray()  # old sets that are near no new point are left as they are
    means = np.stack([near[:, before.sets == name].mean(1) for name in before.sets])
    met = np.unique(before.sets[(means >= 0.3).any(1)])
    rows = np.concatenate(
        [np.flatnonzero(np.isin(found.sets[:old], met)), np.arange(old, len(points))]
    )
    label, _ = agglomeration.average_linkage(graph[rows][:, rows], 0.3, initial_sets=start[rows])
    expected = start.copy()
    expected[rows] = rows[label]
    np.testing.assert_array_equal(found.sets, expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 50), st.sampled_from([None, 0.3]))
def test_extended_parts_nothing_and_joins_nobody_seen_together(
    seed: int, new: int, radius: float | None
) -> None:
    points = people(seed, spread=0.7)[0]
    n, old = len(points), len(points) - new
    never = np.triu(np.random.default_rng(seed).random((n, n)) < 0.05, 1)
    never[:old, old:] = False
    never = sparse.csr_matrix(never | never.T)
    before = sliding_range.link(points[:old], 0.2, never[:old, :old], radius=radius)
    start = np.concatenate([before.sets, np.arange(old, n)])
    place = sliding_range.extend(points, start, before.rule_state["index"], 0.2, never, radius).sets
    i, j = never.nonzero()
    assert (place[i] != place[j]).all() and (place[place] == place).all()
    assert (place[before.sets] == place[:old]).all()
    if radius:
        for rows in partition(place):
            part = points[list(rows)]
            assert (1 - part @ unit(part.sum(0, keepdims=True))[0]).max() <= radius + 1e-5
