"""The Sliding Range as drawn: relations by hand; after a real run each is in a position."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from cion_core.denoise import state
from cion_core.denoise.linking.nodes import LinkRecord
from cion_core.denoise.linking.sliding_range import Range, link
from cion_core.neighbours.arrays import unit
from cion_core.report import sliding_range


def links(names: list[int], identity: list[int], positions: list[tuple[int, int]]) -> LinkRecord:
    n = len(names)
    return LinkRecord(
        "published",
        np.array(names),
        np.array(identity),
        np.zeros((n, 2), np.float32),
        sparse.csr_matrix((n, n), dtype=bool),
        positions=np.array(positions, np.int64).reshape(-1, 2),
    )


def test_relations_by_hand() -> None:
    """Identities of nodes at known positions, and the relations that the page draws of them.

    Identity 0 has nodes 0, 2, 5: two relations, over positions 0-3 and 2-5. Identity 1 has nodes 1,
    3, 4, of which level 2 had made 3 and 4 one: its relation is in the first position, but no
    position holds all of it. 6 is alone.
    """
    found = sliding_range.find_relations(
        links([0, 1, 2, 3, 3, 5, 6], [0, 1, 0, 1, 1, 0, 6], [(0, 4), (2, 6), (3, 7)])
    )
    assert found.pairs.tolist() == [[0, 2], [2, 5], [1, 3]]
    assert found.of_wide.tolist() == [True, True, True]
    whole = sliding_range.find_relations(
        links([0, 1, 2, 3, 3, 5, 6], [0, 1, 0, 1, 1, 0, 6], [(0, 7)])
    )
    assert whole.pairs.tolist() == found.pairs.tolist() and not whole.of_wide.any()


@pytest.mark.parametrize("size", [8, 20, None])
def test_after_a_real_run_each_relation_lies_in_a_position(size: int | None) -> None:
    rng = np.random.default_rng(0)
    people = rng.integers(0, 12, 60)
    points = unit(rng.normal(size=(12, 16))[people] + 0.1 * rng.normal(size=(60, 16))).astype(
        np.float32
    )
    sliding_ = Range(size)
    done = link(points, 0.3, sliding=sliding_)
    made = links(list(range(60)), done.sets.tolist(), sliding_.bounds(60).tolist())
    found = sliding_range.find_relations(made)
    assert len(found.pairs) > 20
    begin, end = made.positions.T
    holds = (begin <= found.pairs[:, :1]) & (found.pairs[:, 1:] < end)
    assert holds.any(1).all()
    assert found.of_wide.any() == (size is not None)


def test_what_is_told_of_a_folder(data) -> None:
    found = sliding_range.summarise(data)
    assert (found.tracklets, found.positions, found.size, found.overlap, found.later) == (
        18,
        2,
        12,
        6,
        0,
    )
    # persons 0, 1 and 2 are linked over three videos of six identities each: two relations each,
    # all to another video
    assert (found.relations, found.across, found.wide_identities) == (6, 6, 3)
    assert (
        'aria-label="Sliding Range: positions 0 to 11, 6 to 17; 6 Linking Relations"'
        in found.picture
    )
    assert sliding_range.summarise(data).picture == found.picture


def test_videos_that_came_later_are_in_no_position(copy) -> None:
    path = copy / "denoise/cross_video/links.npz"
    made = state.read_links(path)
    state.write_links(LinkRecord(**{**vars(made), "positions": np.array([[0, 12]])}), path)
    found = sliding_range.summarise(copy)
    assert (found.positions, found.size, found.later, found.overlap) == (1, 12, 6, 0)
    assert "positions 0 to 11;" in found.picture


def test_where_nothing_was_compared_nothing_is_drawn(copy) -> None:
    path = copy / "denoise/cross_video/links.npz"
    made = state.read_links(path)
    state.write_links(LinkRecord(**{**vars(made), "positions": np.empty((0, 2), np.int64)}), path)
    assert sliding_range.summarise(copy).picture == ""


def test_overlapping_positions_stand_in_rows_of_their_own() -> None:
    assert sliding_range.arrange_in_rows(Range(4, 3).bounds(10)) == [0, 1, 0]
    assert sliding_range.arrange_in_rows(Range(10, 2).bounds(18)) == [0, 1, 2, 3, 4]
