"""People by number, and where they are between two pictures: by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from cion_core.denoise.linking.nodes import LinkRecord
from cion_core.identify.boxes import BOX, collect_tracks
from cion_core.identify.people import choose_hue, describe_people, number_people


def crops(*rows: tuple[str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["video", "tracklet"])


SEEN = crops(("a", 0), ("a", 0), ("a", 0), ("a", 1), ("b", 2), ("b", 3), ("b", 3))
LABELS = np.array([5, 5, 5, 7, 7, -1, -1])


def test_who_is_in_more_videos_comes_first_then_who_has_more_crops() -> None:
    assert number_people(SEEN, LABELS).tolist() == [2, 2, 2, 1, 1, 0, 0]


def test_nobody_has_no_number() -> None:
    assert number_people(SEEN, np.full(7, -1)).tolist() == [0] * 7


def links(probability: list[float]) -> LinkRecord:
    """Nodes 0 to 3 of identities 5, 7, 7, 9; the two merges are those of identity 7."""
    return LinkRecord(
        rule="reciprocal",
        video_identity=np.arange(4),
        identity=np.array([5, 7, 7, 9]),
        points=np.zeros((4, 1), np.float32),
        forbidden=sparse.csr_matrix((4, 4), dtype=bool),
        merges=np.array([[1, 2], [1, 2]]),
        distance=np.array([0.1, 0.2]),
        probability=np.array(probability),
    )


def test_a_person_is_as_sure_as_the_least_sure_of_their_links() -> None:
    found = describe_people(SEEN, number_people(SEEN, LABELS), LABELS, links([0.9, 0.7]))
    assert [(person.number, person.videos, person.tracklets, person.crops) for person in found] == [
        (1, 2, 2, 2),
        (2, 1, 1, 3),
    ]
    assert [person.least_probability for person in found] == [0.7, None]


def test_where_nothing_is_known_of_links_nothing_is_said() -> None:
    found = describe_people(SEEN, number_people(SEEN, LABELS), LABELS, links([np.nan, np.nan]))
    assert found[0].least_probability is None


def test_neighbouring_numbers_have_colours_far_apart() -> None:
    hues = np.array([choose_hue(number) for number in range(1, 9)])
    apart = np.abs(hues[:, None] - hues)
    apart = np.minimum(apart, 1 - apart) + np.eye(len(hues))
    assert apart.min() > 0.05 and len(set(hues)) == len(hues)


def walk(*rows: tuple[int, int, float, float]) -> pd.DataFrame:
    """tracklet, identity, time, x of 10 x 20 pixel boxes."""
    table = pd.DataFrame(rows, columns=["tracklet", "identity", "time_s", "x1"])
    table = table.assign(y1=0.0, x2=table.x1 + 10, y2=20.0)
    return table[["tracklet", "identity", "time_s", *BOX]]


def test_between_two_crops_the_box_moves_evenly() -> None:
    (track,) = collect_tracks(walk((0, 3, 1.0, 0), (0, 3, 2.0, 8)))
    assert track.person == 3
    assert track.box_at(1.25, max_gap=2).tolist() == [2, 0, 12, 20]
    assert track.box_at(2.0, max_gap=2).tolist() == [8, 0, 18, 20]


def test_before_after_and_in_a_long_gap_nobody_is_there() -> None:
    (track,) = collect_tracks(walk((0, 3, 1.0, 0), (0, 3, 2.0, 8)))
    assert track.box_at(0.9, max_gap=2) is None and track.box_at(2.1, max_gap=2) is None
    assert track.box_at(1.5, max_gap=0.5) is None


def test_a_tracklet_of_two_people_is_two_tracks() -> None:
    tracks = collect_tracks(walk((0, 1, 0.0, 0), (0, 2, 1.0, 5), (0, 1, 0.5, 2)))
    assert [(track.person, track.times.tolist()) for track in tracks] == [
        (1, [0.0, 0.5]),
        (2, [1.0]),
    ]


@given(st.lists(st.floats(0, 100), min_size=2, max_size=10, unique=True), st.floats(0, 100))
def test_a_box_lies_between_those_around_it(times: list[float], time: float) -> None:
    times = sorted(times)
    (track,) = collect_tracks(walk(*((0, 1, at, float(place)) for place, at in enumerate(times))))
    box = track.box_at(time, max_gap=1000)
    if box is None:
        assert time < times[0] or time > times[-1]
    else:
        after = int(np.searchsorted(times, time))
        assert max(0, after - 1) - 1e-9 <= box[0] <= after + 1e-9
        assert box[2] - box[0] == pytest.approx(10)
