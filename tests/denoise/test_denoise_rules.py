"""Linking rules: published links against SciPy, what every rule must keep, and a user's own."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from cion_core.denoise import Settings, denoise
from cion_core.denoise.linking.nodes import LinkingResult, LinkRecord, Nodes
from cion_core.denoise.linking.rules import RULES
from cion_core.denoise.linking.rules.published import Published
from cion_core.denoise.linking.sliding_range import Range
from cion_core.errors import CionError
from cion_core.neighbours.arrays import unit


def partition(label: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(label == name).tolist()) for name in np.unique(label)}


def alone(points: np.ndarray, forbidden: sparse.csr_matrix | None = None) -> Nodes:
    """Nodes of one crop each."""
    n = len(points)
    forbidden = sparse.csr_matrix((n, n), dtype=bool) if forbidden is None else forbidden
    return Nodes(points, np.zeros(n, int), forbidden, points, np.arange(n), np.arange(n))


def published(
    points: np.ndarray,
    separation: float,
    radius: float | None = None,
    forbidden: sparse.csr_matrix | None = None,
    size: int | None = None,
) -> LinkingResult:
    rule = Published(Published.Settings(), Range(size))
    return rule.link(alone(points, forbidden), points, separation, radius)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40), st.floats(0.01, 0.6))
def test_published_at_full_range_is_connected_components(
    seed: int, n: int, separation: float
) -> None:
    points = unit(np.random.default_rng(seed).normal(size=(n, 3)))
    linked = published(points, separation)
    graph = sparse.csr_matrix((1 - points @ points.T < separation) & ~np.eye(n, dtype=bool))
    count, expected = connected_components(graph)
    assert partition(linked.sets) == partition(expected) and len(linked.merges) == n - count
    for size in (n, n + 5):
        if size >= 2:
            np.testing.assert_array_equal(
                published(points, separation, size=size).sets, linked.sets
            )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(4, 40), st.integers(2, 12))
def test_published_in_a_range_links_what_lies_in_one_position(seed: int, n: int, size: int) -> None:
    points = unit(np.random.default_rng(seed).normal(size=(n, 3)))
    near = np.zeros((n, n), bool)
    for rows in Range(size).positions(n):
        near[np.ix_(rows, rows)] = True
    graph = sparse.csr_matrix((1 - points @ points.T < 0.2) & near & ~np.eye(n, dtype=bool))
    label = published(points, 0.2, size=size).sets
    assert partition(label) == partition(connected_components(graph)[1])


def test_published_stops_chains_at_cannot_links_and_the_radius() -> None:
    angles = np.deg2rad([0, 10, 20, 30])
    points = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    step = float(1 - np.cos(np.deg2rad(11)))
    assert published(points, step).sets.tolist() == [0, 0, 0, 0]
    never = sparse.lil_matrix((4, 4), dtype=bool)
    never[0, 3] = never[3, 0] = True
    assert len(set(published(points, step, forbidden=never.tocsr()).sets[[0, 3]])) == 2
    spread = published(points, step, radius=float(1 - np.cos(np.deg2rad(8)))).sets
    assert len(set(spread.tolist())) == 2  # 5° in a pair, 10° in three, 15° in four


def test_a_new_point_between_two_sets_joins_them_and_is_published_alike() -> None:
    angles = np.deg2rad([0, 20, 40, 10])
    points = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    step = float(1 - np.cos(np.deg2rad(11)))
    rule = Published(Published.Settings())

    def extended(apart: sparse.csr_matrix) -> LinkingResult:
        old = LinkRecord("published", np.arange(3), np.arange(3), points[:3], apart)
        fresh, linked = rule.extend(old, alone(points[3:]), step, None)
        np.testing.assert_array_equal(fresh, points[3:])
        return linked

    found = extended(sparse.csr_matrix((3, 3), dtype=bool))
    assert found.sets.tolist() == [0, 0, 2, 0] and len(found.merges) == 2
    apart = extended(sparse.csr_matrix(([True, True], ([0, 1], [1, 0])), shape=(3, 3)))
    assert len(set(apart.sets[:2].tolist())) == 2


@pytest.mark.parametrize("name", RULES.names())
def test_every_rule_says_what_it_is(name: str) -> None:
    rule = RULES.named(name)
    assert rule.name == name and rule.about and "\n" not in rule.about and rule.compares
    assert RULES.files(name)[0].name == f"{name}.py"
    others = {f"{other}.py" for other in RULES.names()} - {f"{name}.py"}
    assert not others & {path.name for path in RULES.files(name)}  # no rule depends on another


NOBODY = """
from cion_core.config import Section
from cion_core.denoise.linking.calibration import Calibration
from cion_core.denoise.linking.nodes import LinkingResult
from cion_core.denoise.linking.rules.base import LinkingRule


class Nobody(LinkingRule):
    about = "links nobody"
    compares = "nothing"

    class Settings(Section):
        threshold: float = 0.25

    def fit(self, nodes):
        return {}, nodes.centres

    def calibrate(self, nodes, points, rate):
        return Calibration(self.settings.threshold, "nothing is linked, whatever it is")

    def link(self, nodes, points, separation, radius):
        return LinkingResult(nodes.initial_sets, [])

    def extend(self, old, nodes, separation, radius):
        return nodes.centres, LinkingResult(old.sets_with(nodes), [])
"""


@pytest.fixture
def nobody(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The import path of a rule that lies in the working folder."""
    (workspace / "mine_linking.py").write_text(NOBODY)
    monkeypatch.syspath_prepend(workspace)
    yield "mine_linking.Nobody"
    sys.modules.pop("mine_linking", None)
    RULES.parts.pop("mine_linking.Nobody", None)


def scene() -> tuple[pd.DataFrame, np.ndarray]:
    """Three people in each of four videos, five crops each."""
    rng = np.random.default_rng(0)
    looks = rng.normal(size=(3, 12))
    rows = [
        (f"v{v}", frame, 3 * v + person, person)
        for v in range(4)
        for person in range(3)
        for frame in range(5)
    ]
    crops = pd.DataFrame(rows, columns=["video", "frame", "tracklet", "person"])
    features = looks[crops.pop("person")] + 0.1 * rng.normal(size=(len(crops), 12))
    return crops.assign(crop=np.arange(len(crops))), features


def test_a_rule_of_ones_own_is_one_file(nobody: str) -> None:
    crops, features = scene()
    assert denoise(crops, features).identities.identity.nunique() == 3
    result = denoise(crops, features, Settings(linking=nobody))
    named = result.identities.merge(crops)
    assert (named.identity == named.tracklet).all() and named.tracklet.nunique() == 12
    last = result.levels[-1]
    assert last.links.rule == nobody and last.thresholds.separation == 0.25
    assert set(last.ledger.rule) == {nobody} and set(last.ledger.action) == {"kept"}
    assert (
        result.audit["cross_video"]["calibration"]["separation"]["how"]
        == "nothing is linked, whatever it is"
    )
    # The level counts the pairs, as the rule counts none.
    assert last.after.close_pairs == last.before.close_pairs > 0
    own = Settings.model_validate(
        {"linking": nobody, "mine_linking": {"Nobody": {"threshold": 0.5}}}
    )
    assert denoise(crops, features, own).levels[-1].thresholds.separation == 0.5
    old = (crops.video != "v2").to_numpy()
    grown = denoise(crops, features, own, earlier=denoise(crops[old], features[old], own))
    kept = grown.identities.merge(crops)
    assert (kept.identity == kept.tracklet).all() and kept.video.nunique() == 4
    with pytest.raises(CionError, match=r"made with threshold 0\.25, now 0\.5"):
        denoise(
            crops,
            features,
            own,
            earlier=denoise(crops[old], features[old], Settings(linking=nobody)),
        )


def test_a_rule_of_ones_own_is_checked(nobody: str) -> None:
    with pytest.raises(ValueError, match="no linking rule called Somebody"):
        Settings(linking="mine_linking.Somebody")
    with pytest.raises(
        ValueError, match="unknown linking rule 'nobody'; valid are published, reciprocal"
    ):
        Settings(linking="nobody")
    assert RULES.files(nobody)[0].name == "mine_linking.py"
