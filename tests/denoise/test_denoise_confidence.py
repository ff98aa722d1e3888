"""Identities cut at a confidence: by hand, and against a slow reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from cion_core.denoise.linking import confidence
from cion_core.denoise.linking.nodes import LinkingResult, LinkRecord
from cion_core.errors import CionError


def partition(label: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(label == name).tolist()) for name in np.unique(label)}


def links(
    names: list[int] | np.ndarray, merges: list[tuple[int, int, float]], sure: list[float]
) -> LinkRecord:
    """What level 3 would keep of these names and merges.

    All merges are made, and sets are named after their lowest name.
    """
    names = np.array(names)
    identity = slowly(names, merges)
    nobody = sparse.csr_matrix((len(names), len(names)), dtype=bool)
    empty = LinkRecord("mine", names, identity, np.empty((len(names), 2), np.float32), nobody)
    return empty.with_merges(LinkingResult(identity, merges, probability=np.array(sure, float)))


def slowly(names: np.ndarray, merges: list[tuple[int, int, float]]) -> np.ndarray:
    """Node by node: those of one name, or merged, are one set, named after its lowest name."""
    sets = [set(np.flatnonzero(names == names[node]).tolist()) for node in range(len(names))]
    for i, j, _ in merges:
        both = sets[i] | sets[j]
        for node in both:
            sets[node] = both
    return np.array([min(names[list(nodes)]) for nodes in sets], np.int64)


def test_identities_at_a_confidence_by_hand() -> None:
    some = links([3, 8, 5, 8, 9], [(0, 1, 0.2), (0, 2, 0.3), (0, 4, 0.4)], [0.9, 0.7, 0.5])
    assert some.identity.tolist() == [3, 3, 3, 3, 3] == some.at(0).tolist() == some.at(0.5).tolist()
    assert some.at(0.51).tolist() == [3, 3, 3, 3, 9]
    assert some.at(0.8).tolist() == [3, 3, 5, 3, 9]
    assert some.at(1).tolist() == [3, 8, 5, 8, 9]  # nodes of one name are one whatever is cut
    assert some.merges.tolist() == [[0, 1], [0, 2], [0, 4]] and some.distance.tolist() == [
        0.2,
        0.3,
        0.4,
    ]
    more = some.with_merges(LinkingResult(some.sets, [(2, 4, 0.1)]))
    assert (
        more.merges.tolist()[-1] == [2, 4]
        and more.distance[-1] == 0.1
        and np.isnan(more.probability[-1])
    )


def test_the_part_with_the_node_of_its_name_keeps_the_name() -> None:
    # of a result that was added to: 7 was there first, so the identity is 7, though the later node
    # is called 2
    nobody = sparse.csr_matrix((3, 3), dtype=bool)
    one = LinkRecord(
        "mine", np.array([7, 2, 9]), np.array([7, 7, 7]), np.empty((3, 2), np.float32), nobody
    )
    one = one.with_merges(
        LinkingResult(one.sets, [(0, 1, 0.1), (1, 2, 0.2)], probability=np.array([0.9, 0.5]))
    )
    assert one.at(0.6).tolist() == [7, 7, 9] and one.at(0.95).tolist() == [7, 2, 9]
    assert one.at(0).tolist() == [7, 7, 7]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 25))
def test_a_higher_confidence_only_splits_and_none_is_as_it_was(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    names = rng.integers(0, 2 * n, n) if seed % 2 else rng.permutation(2 * n)[:n]
    merges = [
        (int(i), int(j), 0.1) for i, j in rng.integers(0, n, (int(rng.integers(0, n)), 2)) if i != j
    ]
    sure = rng.choice([0.2, 0.5, 0.8, 0.99], len(merges))
    some = links(names, merges, sure)
    before = some.at(0)
    np.testing.assert_array_equal(before, some.identity)
    for least in (0.1, 0.3, 0.5, 0.6, 0.9, 1.0):
        now = some.at(least)
        np.testing.assert_array_equal(
            now, slowly(names, [m for m, p in zip(merges, sure, strict=True) if p >= least])
        )
        assert all(any(part <= whole for whole in partition(before)) for part in partition(now))
        assert (names[np.isin(names, now)].size > 0) and set(now) <= set(names)
        before = now


def test_crops_go_with_their_identity_of_level_2() -> None:
    before = np.array([5, -1, 2, 5, 9])
    assert confidence.crop_identities(
        before, np.array([2, 5, 9, 5]), np.array([2, 2, 9, 2])
    ).tolist() == [
        2,
        -1,
        2,
        2,
        9,
    ]
    with pytest.raises(CionError, match="of two runs"):
        confidence.crop_identities(before, np.array([2, 5]), np.array([2, 2]))
    with pytest.raises(CionError, match="of two runs"):
        confidence.crop_identities(np.array([3]), np.array([2, 5]), np.array([2, 2]))
    assert confidence.crop_identities(
        np.array([-1]), np.empty(0, int), np.empty(0, int)
    ).tolist() == [-1]


def test_from_a_file_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    some, path = links([3, 8, 5], [(0, 1, 0.2), (0, 2, 0.3)], [0.9, 0.7]), tmp_path / "links.npz"

    def write(**changes: object) -> None:
        arrays = {
            "names": some.video_identity,
            "identity": some.identity,
            "merges": some.merges,
            "probability": some.probability,
        }
        np.savez(
            path, **{name: array for name, array in (arrays | changes).items() if array is not None}
        )

    with pytest.raises(CionError, match=r"links\.npz: no such file"):
        confidence.read_at(path, np.array([8]), 0.5)
    write()
    done = confidence.read_at(path, np.array([8, -1, 5]), 0.8)
    assert (done.labels.tolist(), done.merges_dropped, done.merges) == ([3, -1, 5], 1, 2)
    write(probability=np.array([0.9, np.nan]))
    with pytest.raises(CionError, match=r"links\.npz: nothing is known of how sure the links are"):
        confidence.read_at(path, np.array([8]), 0.5)
    assert confidence.read_at(path, np.array([8]), 0).labels.tolist() == [3]
    write(merges=None)
    with pytest.raises(
        CionError, match=r"links\.npz: holds no merges, so another version wrote it"
    ):
        confidence.read_at(path, np.array([8]), 0.5)
