"""Belief in links: its counting against a literal one, choices by hand, and made-up people."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from cion_core.denoise.linking import agglomeration, belief, space
from cion_core.denoise.linking.belief import SIMILARITIES, Belief, weight_above
from cion_core.denoise.linking.linked_pairs import PAIRS_OF_A_MERGE, sample_linked_pairs
from cion_core.denoise.linking.strangers import measure_strangers
from cion_core.neighbours import search
from cion_core.neighbours.arrays import unit
from cion_core.neighbours.similarity import similarity


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 24), st.integers(1, 24))
def test_linked_pairs_are_those_of_clusters_kept_as_sets(seed: int, n: int, sets: int) -> None:
    """Pairs inside the sets at the start are no links; of large merges, pairs stand for others."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((n, n)), 1)
    videos, start = rng.integers(0, 3, n), agglomeration.lowest_of_each(rng.integers(0, sets, n))
    _, merges = agglomeration.average_linkage(
        sparse.csr_matrix(upper + upper.T), 0.3, initial_sets=start
    )
    clusters, every, weight = (
        {node: set(np.flatnonzero(start == node)) for node in set(start)},
        {},
        Counter(),
    )
    for a, b, level in merges:
        first, second = clusters[a], clusters.pop(b)
        every |= {(i, j): level for i in first for j in second if videos[i] != videos[j]}
        weight[level] += len(first) * len(second)
        clusters[a] = first | second
    i, j, level, worth = sample_linked_pairs(merges, videos, start)
    found = list(zip(i.tolist(), j.tolist(), strict=True))
    assert all(every[pair] == at for pair, at in zip(found, level.tolist(), strict=True))
    small = {at for at, pairs in weight.items() if pairs <= PAIRS_OF_A_MERGE}
    one = [
        (pair, at)
        for pair, at, of in zip(found, level.tolist(), worth.tolist(), strict=True)
        if at in small
    ]
    assert sorted(one) == sorted((pair, at) for pair, at in every.items() if at in small)
    assert (worth[np.isin(level, list(small))] == 1).all()
    assert all(
        of == weight[at] / PAIRS_OF_A_MERGE
        for at, of in zip(level, worth, strict=True)
        if at not in small
    )


def test_of_a_large_merge_some_pairs_stand_for_all() -> None:
    n = 60
    chains = [(0, node, 0.9) for node in range(1, 30)] + [(30, node, 0.9) for node in range(31, n)]
    videos = (np.arange(n) >= 30).astype(int)  # each cluster is of a video of its own
    i, j, level, weight = sample_linked_pairs([*chains, (0, 30, 0.5)], videos, np.arange(n))
    assert len(i) == PAIRS_OF_A_MERGE and weight.sum() == 900 and (level == 0.5).all()
    assert (videos[i] == 0).all() and (videos[j] == 1).all()


def test_sums_above_each_level() -> None:
    level = np.array([0.25, 0.9, 0.3, 0.24])
    found = weight_above(level, np.array([1.0, 2.0, 4.0, 8.0]))
    assert found[0] == 7 and found[1] == 6 and found[3] == found[-1] == 2


def by_level(low: float, high: float) -> np.ndarray:
    return np.interp(SIMILARITIES, (SIMILARITIES[0], SIMILARITIES[-1]), (low, high))


def test_links_are_taken_as_long_as_they_are_worth_it() -> None:
    """A wrong link costs 0.6 right ones.

    So one link that is right to 0.7 is worth more than 4 links of which 1 is right.
    """
    links, right = by_level(1.0, 0.0), np.full(len(SIMILARITIES), 0.7)
    links[:10], right[:10] = 4, 0.25
    assert Belief(links, right).least_worthwhile() == pytest.approx(SIMILARITIES[10], abs=0.02)
    right[:10] = 0.6  # 4 x (0.6 - 0.6 x 0.4) is more than 0.7 - 0.6 x 0.3
    links[1:10] = 1
    assert Belief(links, right).least_worthwhile() == pytest.approx(SIMILARITIES[0], abs=1e-3)


def test_a_little_more_belief_moves_the_level_a_little() -> None:
    """Two far levels are worth the same; as one gets better, the level moves without a jump."""
    links = np.where(SIMILARITIES < 0.4, 1.0, 0.1)
    levels = [
        Belief(links, np.where(SIMILARITIES < 0.4, 0.35 + more, 0.6)).least_worthwhile()
        for more in np.arange(0, 0.2, 0.01)
    ]
    assert levels[0] > 0.55 and levels[-1] < 0.35
    assert np.abs(np.diff(levels)).max() < 0.1


def test_no_more_is_given_up_than_for_good_links() -> None:
    links = by_level(1.05, 1.0)  # hardly any are lost by being strict
    cautious = Belief(links, by_level(0.5, 1.0))
    assert cautious.least_worthwhile() == pytest.approx(cautious.lowest_with(belief.GOOD))
    assert cautious.share(cautious.least_worthwhile()) == pytest.approx(belief.GOOD)
    assert cautious.least_worthwhile(0.9) > cautious.least_worthwhile()


def test_where_nothing_is_worth_it_only_the_most_similar_are_linked() -> None:
    nobody = Belief(by_level(3, 0.1), by_level(0.0, 0.3))
    assert nobody.least_worthwhile() > 0.75 and nobody.lowest_with(0.5) == np.inf


def test_belief_is_kept_and_read() -> None:
    one = Belief(by_level(3, 1), by_level(0.2, 0.9))
    again = Belief.of_arrays(one.arrays())
    assert np.array_equal(again.links, one.links) and np.array_equal(again.right, one.right)
    assert Belief.of_arrays({}) is None


def crowd(people: int, each: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of people of eight videos who are seen `each` times on average.

    Looks come in groups, as clothes do.
    """
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), 1 + rng.poisson(each - 1, people))
    looks = 0.8 * rng.normal(size=(people // 6, 32))[rng.integers(people // 6, size=people)]
    looks += rng.normal(size=looks.shape)
    points = looks[person] + 1.1 * rng.normal(size=(len(person), 32))
    return unit(points), rng.integers(8, size=len(person)), person


def believed(each: float) -> tuple[Belief, np.ndarray]:
    """Belief in what is linked among people seen `each` times, and the true shares."""
    points, videos, person = crowd(int(900 / each), each, seed=3)
    points = space.centre_by_view(points, videos)
    similar = similarity(points, search.neighbours(points))
    _, merges = agglomeration.average_linkage(similar, SIMILARITIES[0])
    i, j, level, weight = sample_linked_pairs(merges, videos, np.arange(len(videos)))
    right = weight_above(level, weight * (person[i] == person[j])) / np.maximum(
        weight_above(level, weight), 1
    )
    return belief.believe(
        merges, videos, np.arange(len(videos)), measure_strangers(points, videos)
    ), right


def test_the_more_come_again_the_more_is_believed() -> None:
    shares = []
    for each in (1.0, 2.0, 4.0, 8.0):
        found, right = believed(each)
        assert (np.diff(found.right) >= 0).all()
        shares.append((found.share(0.45), np.interp(0.45, SIMILARITIES, right)))
    assert shares == sorted(shares)
    assert shares[0][0] < 0.2 and shares[-1][0] > 0.6


def test_facts_by_hand() -> None:
    """Two links, at 0.9 and 0.3, among 40 nodes."""
    points, videos, _ = crowd(40, 1.0, seed=0)
    strangers = measure_strangers(points, videos)
    i, j = (int(np.flatnonzero(videos == video)[0]) for video in (0, 1))
    k, m = (int(np.flatnonzero(videos == video)[0]) for video in (2, 3))
    merges = [(min(i, j), max(i, j), 0.9), (min(k, m), max(k, m), 0.3)]
    links, known = belief.measure_facts(merges, videos, np.arange(len(videos)), strangers)
    table = dict(zip(belief.FACTS, known.T, strict=True))
    n = len(videos)
    assert links[0] == 2 / n and links[-1] == 1 / n
    assert table["links"][-1] == pytest.approx(np.log(1.5 / n)) and table["size"][
        0
    ] == pytest.approx(np.log(n))
    one, two = (
        strangers.log_expected(np.array([x]), np.array([y]))[0] for x, y in ((i, j), (k, m))
    )
    assert table["rarity"][-1] == pytest.approx((one + 1) / 2) and table["rarity"][
        0
    ] == pytest.approx((one + two + 1) / 3)
    bend, slope = strangers.tail[0], 6 * strangers.tail[0] + strangers.tail[1]
    assert table["bend"][3] == pytest.approx(bend) and table["slope"][3] == pytest.approx(slope)


def test_shares_stay_between_none_and_all() -> None:
    assert belief.right_share(
        np.array([[1000.0], [-1000.0], [0.0]]), np.array([1.0, 0.0])
    ).tolist() == [
        0.995,
        0.005,
        0.5,
    ]


def test_a_link_is_as_likely_right_as_those_from_its_similarity_on_and_more_where_it_is_clear() -> (
    None
):
    even = np.array([1.0, 0.0, 0.0])
    assert belief.link_probability(
        np.array([0.2, 0.9]), np.array([0.3, 0.7]), even
    ) == pytest.approx([0.2, 0.9])
    half = np.array([0.0, 10.0, 0.0])  # odds are exp(10 (s - 0.5)^2) above 0.5, and 1 below
    told = belief.link_probability(np.array([0.5, 0.5, 0.5]), np.array([0.3, 0.5, 0.8]), half)
    assert told == pytest.approx([0.5, 0.5, 1 / (1 + np.exp(-0.9))])
    # Shares of none and of all are never taken as sure.
    assert 0 < belief.link_probability(np.array([0.0]), np.array([0.5]), even)[0] < 0.01
    assert belief.link_probability(np.array([1.0]), np.array([0.5]), even)[0] < 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=len(SIMILARITIES), max_size=len(SIMILARITIES)))
def test_a_probability_grows_with_the_similarity_and_stays_inside(shares: list[float]) -> None:
    some = Belief(np.linspace(3, 0, len(SIMILARITIES)), np.maximum.accumulate(shares))
    told = some.probability(np.linspace(0, 1, 101))
    assert (np.diff(told) >= 0).all() and told.min() > 0 and told.max() < 1
