"""What lies around an identity across videos: by hand, in plain cosine.

Single crops: test_audit_explain.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from cion_core.audit.nearby import Around
from cion_core.denoise.linking.nodes import LinkRecord
from cion_core.errors import CionError

CROPS = pd.DataFrame(
    {
        "crop": [0, 1, 2, 3, 4],
        "video": list("abaab"),
        "frame": [0, 0, 0, 5, 9],
        "tracklet": [0, 1, 2, 3, 1],
    }
)
BEFORE = np.array([0, 1, 2, 3, -1])
# Tracklets 0 and 1 are linked; 2 was seen together with 0; the last was lost before.
AFTER = np.array([0, 0, 2, 3, -1])


def features(*degrees: float) -> np.ndarray:
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], 1).astype(
        np.float32
    )


FEATURES = features(0, 10, 30, 90, 45)


def across(rows: np.ndarray, after: np.ndarray = AFTER, cannot_link: bool = True) -> Around:
    nodes = rows[BEFORE[rows] >= 0][::-1]  # in any order
    nobody = sparse.csr_matrix((len(nodes), len(nodes)), dtype=bool)
    links = LinkRecord(
        video_identity=BEFORE[nodes],
        identity=AFTER[nodes],
        points=FEATURES[nodes],
        forbidden=nobody,
        rule="published",
    )
    return Around(
        CROPS.iloc[rows],
        FEATURES[rows],
        BEFORE[rows],
        after[rows],
        np.arange(len(rows)),
        cannot_link,
        links,
    )


def cos(degrees: float):
    return pytest.approx(1 - np.cos(np.radians(degrees)), abs=1e-6)


def test_the_nearest_of_those_it_was_not_put_with_and_whether_they_were_seen_together() -> None:
    assert across(np.arange(5)).nearest().to_dict("list") == {
        "identity": [0, 1, 2, 3],
        "distance": [cos(30), cos(20), cos(25), cos(60)],  # 0 and 1 together lie at 5 degrees
        "forbidden": [True, True, True, False],
    }
    assert not across(np.arange(5), cannot_link=False).nearest().forbidden.any()


def test_an_identity_with_no_other_has_no_nearest() -> None:
    assert across(np.array([0, 1])).nearest().to_dict("list") == {
        "identity": [0, 1], "distance": [np.inf, np.inf], "forbidden": [False, False],
    }  # fmt: skip
    assert across(np.array([4])).nearest().empty


def test_a_crop_has_the_identities_joined_to_it_and_those_around() -> None:
    around = across(np.arange(5))
    one = around.of(1)
    assert [(g.identity, g.distance, g.shown) for g in one["joined"]] == [
        (0, cos(10), (0,))
    ] and one["parts"] == 1
    assert [(g.identity, g.distance, g.forbidden) for g in one["others"]] == [
        (2, cos(20), True),
        (3, cos(80), False),
    ]
    assert around.of(4) == {}  # it was never compared


def test_an_identity_of_several_tracklets_lies_where_they_do_together() -> None:
    crops = pd.DataFrame(
        {"crop": range(4), "video": list("aaab"), "frame": [0, 9, 0, 0], "tracklet": range(4)}
    )
    before, after, points = np.array([0, 0, 2, 3]), np.array([0, 0, 2, 0]), features(0, 40, 90, 50)
    # The middle of all three tracklets, each counted once.
    middle = np.degrees(np.arctan2(*points[[0, 1, 3]].sum(0)[::-1]))
    nobody = sparse.csr_matrix((4, 4), dtype=bool)
    links = LinkRecord(
        video_identity=before, identity=after, points=points, forbidden=nobody, rule="published"
    )
    around = Around(crops, points, before, after, np.arange(4), True, links)
    assert around.nearest().to_dict("list") == {
        "identity": [0, 2, 3],
        "distance": [cos(70), cos(90 - middle), cos(40)],  # 0 and 40 degrees lie at 20
        "forbidden": [True, True, True],
    }
    assert [(g.identity, g.distance, g.crops) for g in around.of(3)["joined"]] == [(0, cos(30), 2)]
    assert [(g.identity, g.distance) for g in around.of(1)["others"]] == [(2, cos(70))]


def test_labels_that_do_not_go_on_from_each_other_are_refused() -> None:
    with pytest.raises(CionError, match="level 3 was not made from these identities of level 2"):
        across(np.arange(5), np.array([0, 0, 2, 3, 3]))
