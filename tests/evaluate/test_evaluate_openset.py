"""Open-set and verification rates against hand cases and a literal reference."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.benchmark.labels import Labels
from cion_core.evaluate import metrics, openset
from cion_core.evaluate.metrics import score
from cion_core.evaluate.openset import Searches, identification, search, verification


def labels(*pairs: tuple[int, int]) -> Labels:
    person, camera = zip(*pairs, strict=True)
    return Labels(np.array(person), np.array(camera))


def kept_pairs(
    distance: np.ndarray, query: Labels, gallery: Labels, q: int
) -> tuple[list[float], list[float]]:
    """Distances of a query to right and to wrong images, one image at a time."""
    right, wrong = [], []
    for g in range(len(gallery)):
        if gallery.person[g] == -1:
            continue
        if gallery.person[g] != query.person[q]:
            wrong.append(float(distance[q, g]))
        elif gallery.camera[g] != query.camera[q]:
            right.append(float(distance[q, g]))
    return right, wrong


def slow_rates(
    distance: np.ndarray, query: Labels, gallery: Labels, t: float
) -> tuple[float, float]:
    """FPIR(t) and TPIR(t) in percent, one search at a time."""
    alarms, hits, mated = 0, 0, 0
    for q in range(len(query)):
        right, wrong = kept_pairs(distance, query, gallery, q)
        nearest_wrong = min(wrong, default=np.inf)
        alarms += nearest_wrong < t
        if right:
            mated += 1
            hits += min(right) < nearest_wrong and min(right) < t
    return 100 * alarms / len(query), 100 * hits / mated


@st.composite
def retrievals(draw: st.DrawFn) -> tuple[np.ndarray, Labels, Labels]:
    """Distances of a coarse grid (many ties) or a fine one, with somebody who can be found.

    There are junk, distractors and few cameras.
    """
    nq, ng, levels = (
        draw(st.integers(1, 30)),
        draw(st.integers(2, 15)),
        draw(st.sampled_from([5, 32768])),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    query = Labels(rng.integers(1, 5, nq), rng.integers(1, 4, nq))
    gallery = Labels(rng.integers(-1, 5, ng), rng.integers(1, 4, ng))
    gallery.person[0], gallery.camera[0] = query.person[0], 4
    return (2 * rng.integers(0, levels, (nq, ng)) / levels).astype(np.float32), query, gallery


@settings(max_examples=100, deadline=None)
@given(retrievals())
def test_every_point_is_what_the_reference_counts(case: tuple[np.ndarray, Labels, Labels]) -> None:
    told = identification(search(*case))
    assert told["nonmated"] == len(case[1]) and told["mated"] == score(*case).valid.sum()
    for point in [*told["curve"], *(at for at in told["at"] if at["threshold"] is not None)]:
        fpir, tpir = slow_rates(*case, np.inf if point["threshold"] is None else point["threshold"])
        assert point["tpir"] == pytest.approx(tpir)
        assert point["fpir"] == pytest.approx(fpir) or (
            point in told["at"] and fpir <= point["fpir"]
        )


@settings(max_examples=100, deadline=None)
@given(retrievals())
def test_one_pass_is_the_reference(case: tuple[np.ndarray, Labels, Labels]) -> None:
    distance, query, _ = case
    before, got = distance.copy(), search(*case)
    lists = [kept_pairs(*case, q) for q in range(len(query))]
    assert got.right.tolist() == [min(right, default=np.inf) for right, _ in lists]
    assert got.wrong.tolist() == [min(wrong, default=np.inf) for _, wrong in lists]
    for counts, kind in ((got.genuine, 0), (got.impostor, 1)):
        values = [value for each in lists for value in each[kind]]
        wanted = np.histogram(values, openset.BINS, (0, 2))[0]
        assert np.array_equal(counts, wanted)
    assert np.array_equal(distance, before), "distances belong to others"


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    distance = rng.random((50, 40), np.float32)
    query, gallery = (Labels(rng.integers(1, 9, n), rng.integers(1, 4, n)) for n in (50, 40))
    whole = search(distance, query, gallery)
    monkeypatch.setattr(metrics, "CHUNK", 7)
    parts = search(distance, query, gallery)
    for name in ("right", "wrong", "genuine", "impostor"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_a_mated_and_a_non_mated_search_by_hand() -> None:
    """Person 7 by camera 1: a mated and a non-mated search.

    Own camera at .05 and junk at .1 are in no search; a distractor at .3, a stranger at .6.

    Mated: the nearest is the right one at .2. Non-mated: it is gone, and the distractor at .3 is
    found.
    """
    gallery = labels((7, 1), (-1, 2), (7, 2), (0, 2), (8, 3), (7, 3))
    got = search(np.array([[0.05, 0.1, 0.2, 0.3, 0.6, 0.7]], np.float32), labels((7, 1)), gallery)
    assert got.right == pytest.approx([0.2]) and got.wrong == pytest.approx([0.3])
    assert (got.genuine.sum(), got.impostor.sum()) == (2, 2)


def test_a_query_without_a_mate_is_searched_for_nobody_only() -> None:
    """Person 2 is under the query's own camera alone.

    There is no mated search, and the non-mated one finds person 1.
    """
    got = search(
        np.array([[0.5, 0.9], [0.4, 0.1]], np.float32),
        labels((1, 1), (2, 1)),
        labels((1, 2), (2, 1)),
    )
    assert got.right.tolist() == [0.5, np.inf] and got.wrong == pytest.approx([0.9, 0.4])
    told = identification(got)
    assert (told["mated"], told["nonmated"]) == (1, 2)


def searches(right: list[float] | np.ndarray, wrong: list[float] | np.ndarray) -> Searches:
    nothing = np.zeros(openset.BINS, np.int64)
    return Searches(np.array(right, np.float32), np.array(wrong, np.float32), nothing, nothing)


def test_rates_by_hand() -> None:
    """100 searches with the nearest strangers at 1, 2, .. 100.

    At FPIR 10 % t is 11, and ten of them are nearer.

    Half of the mates are at .5 and found; a quarter are at 50, nearer than the stranger where he is
    beyond it, but not nearer than t; the last quarter are beyond their strangers.
    """
    wrong = np.arange(1, 101)
    right = np.where(wrong <= 50, 0.5, np.where(wrong <= 75, 50, 500))
    told = identification(searches(right, wrong))
    assert told["at"] == [
        {"fpir": 0.1, "tpir": None, "threshold": None},
        {"fpir": 1.0, "tpir": None, "threshold": None},
        {"fpir": 10.0, "tpir": 50.0, "threshold": 11.0},
    ]
    assert told["curve"][-1] == {"fpir": 100.0, "tpir": 75.0, "threshold": None}
    assert told["curve"][0] == {"fpir": 1.0, "tpir": 50.0, "threshold": 2.0}


def test_rank_one_is_demanded() -> None:
    """The mate is near enough, but the stranger nearer, or equally near: a miss."""
    told = identification(searches([0.2, 0.3, 0.3], [0.5, 0.1, 0.3]))
    assert told["curve"][-1]["tpir"] == pytest.approx(100 / 3)


def test_without_a_threshold_it_is_rank_1_of_the_cmc() -> None:
    rng = np.random.default_rng(0)
    distance = rng.random((200, 60), np.float32)
    query, gallery = (Labels(rng.integers(1, 9, n), rng.integers(1, 4, n)) for n in (200, 60))
    told = identification(search(distance, query, gallery))
    assert told["curve"][-1]["tpir"] == pytest.approx(
        score(distance, query, gallery).summary()["rank1"]
    )


def test_a_long_curve_is_thinned_and_rises() -> None:
    rng = np.random.default_rng(0)
    told = identification(searches(rng.random(20_000), rng.random(20_000) + 0.2))
    fpir, tpir = (np.array([point[name] for point in told["curve"]]) for name in ("fpir", "tpir"))
    assert (
        100 < len(fpir) <= openset.POINTS
        and (np.diff(fpir) > 0).all()
        and (np.diff(tpir) >= 0).all()
    )
    assert fpir[0] == pytest.approx(100 / 20_000) and fpir[-1] == 100
    assert [at["tpir"] is None for at in told["at"]] == [False, False, False]
    steps = np.diff(np.log10(fpir[fpir > 0.5]))
    assert steps.max() < 0.05, "evenly over the decades"


def test_results_are_plain_json() -> None:
    rng = np.random.default_rng(0)
    query, gallery = (Labels(rng.integers(1, 9, n), rng.integers(1, 4, n)) for n in (30, 40))
    got = search(rng.random((30, 40), np.float32), query, gallery)
    for told in (identification(got), verification(got)):
        assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_of_a_single_person_no_threshold_is_needed() -> None:
    """Nobody wrong can be found, so no threshold is needed.

    FPIR says what the missing threshold would let in.
    """
    told = identification(search(np.array([[0.5]], np.float32), labels((1, 1)), labels((1, 2))))
    assert told["curve"] == [{"fpir": 0.0, "tpir": 100.0, "threshold": None}]


def test_without_a_right_image_there_are_no_rates() -> None:
    got = search(np.array([[0.5]], np.float32), labels((1, 1)), labels((2, 2)))
    for rates in (identification, verification):
        with pytest.raises(ValueError, match="no query has a right image"):
            rates(got)


def test_verification_by_hand() -> None:
    """20,000 wrong pairs at 0.5 .. 1.5, evenly, and four right ones.

    At FAR .1 %, 20 wrong ones are nearer than .501.
    """
    wrong = 0.5 + np.arange(20_000) / 20_000
    right = np.array([0.1, 0.4, 0.5004, 0.7])
    genuine, impostor = (np.histogram(values, openset.BINS, (0, 2))[0] for values in (right, wrong))
    told = verification(Searches(right, wrong, genuine, impostor))
    assert (told["right"], told["wrong"]) == (4, 20_000)
    low, middle, high = told["at"]
    assert low == {"far": 0.001, "tar": None, "threshold": None}
    assert middle == {"far": 0.01, "tar": None, "threshold": None}
    assert high["tar"] == 75.0 and high["threshold"] == pytest.approx(0.501, abs=2 / openset.BINS)
    assert (
        (wrong < high["threshold"]).sum()
        <= 20
        < (wrong < high["threshold"] + 2 / openset.BINS).sum()
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_verification_rates_are_exact_at_their_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    distance = rng.random((60, 400), np.float32) * 2
    query, gallery = (Labels(rng.integers(1, 9, n), rng.integers(1, 4, n)) for n in (60, 400))
    lists = [kept_pairs(distance, query, gallery, q) for q in range(60)]
    right, wrong = (np.concatenate([each[kind] for each in lists]) for kind in (0, 1))
    for at in verification(search(distance, query, gallery))["at"]:
        if at["threshold"] is not None:
            assert at["tar"] == pytest.approx(100 * np.mean(right < at["threshold"]))
            assert 100 * np.mean(wrong < at["threshold"]) <= at["far"]
            assert 100 * np.mean(wrong < at["threshold"] + 2 / openset.BINS) > at["far"]


def test_distances_beyond_the_bins_count_at_the_ends() -> None:
    """A product of unit vectors may round to a little above 1."""
    got = search(np.array([[-1e-7, 2.1]], np.float32), labels((1, 1)), labels((1, 2), (2, 2)))
    assert got.genuine[0] == got.impostor[-1] == 1
