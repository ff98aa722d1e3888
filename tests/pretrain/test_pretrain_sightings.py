"""How often identities are seen, against a count by hand and a literal one."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cion_core.pretrain.sightings import (
    COUNTED_BY,
    LEAST,
    histogram,
    shares_seen_again,
    sightings,
    warning,
)

ROWS = st.lists(st.tuples(st.integers(-1, 5), st.integers(0, 9)), min_size=1, max_size=60)


def of(*rows: tuple[int, int, str]) -> pd.DataFrame:
    """Sightings of (identity, tracklet, video), a crop each."""
    return sightings(*(np.array(column) for column in zip(*rows, strict=True)))


def test_videos_tracklets_and_crops_are_counted_once_each():
    seen = of((7, 1, "a"), (7, 1, "a"), (7, 2, "a"), (7, 3, "b"), (4, 5, "c"), (-1, 6, "c"))
    assert seen.columns.tolist() == list(COUNTED_BY) and seen.index.tolist() == [4, 7]
    assert seen.loc[7].tolist() == [2, 3, 4] and seen.loc[4].tolist() == [1, 1, 1]
    assert shares_seen_again(seen) == {"identities": 0.5, "crops": 0.8}


@given(ROWS)
def test_the_counts_are_the_literal_ones_in_any_order(rows):
    crops = [(identity, tracklet, f"v{tracklet // 3}") for identity, tracklet in rows]
    seen = of(*crops)
    names = sorted({identity for identity, *_ in crops if identity >= 0})
    assert seen.index.tolist() == names
    for name in names:
        own = [(tracklet, video) for identity, tracklet, video in crops if identity == name]
        counts = len({video for _, video in own}), len({tracklet for tracklet, _ in own}), len(own)
        assert tuple(seen.loc[name]) == counts
    pd.testing.assert_frame_equal(of(*crops[::-1]), seen)
    for by in COUNTED_BY:
        table = histogram(seen, by)
        assert table.identities.sum() == len(names) and table.crops.sum() == seen.crops.sum()
        assert table.once.sum() == (seen.videos == 1).sum()


def test_bins_double_and_an_empty_one_between_stands():
    seen = pd.DataFrame({"videos": [1, 1, 2, 1], "tracklets": 1, "crops": [1, 5, 8, 3]})
    table = histogram(seen, "crops")
    assert table.index.tolist() == ["1", "2", "3–4", "5–8"]
    assert table.identities.tolist() == [1, 0, 1, 2] and table.once.tolist() == [1, 0, 1, 1]
    assert table.crops.tolist() == [1, 0, 3, 13]
    assert table["median"].tolist() == pytest.approx([1, np.nan, 3, 6.5], nan_ok=True)
    wide = pd.DataFrame({"videos": [1] * 6, "tracklets": 1, "crops": [4, 5, 8, 9, 16, 17]})
    assert histogram(wide, "crops").identities.to_dict() == {
        "1": 0,
        "2": 0,
        "3–4": 1,
        "5–8": 2,
        "9–16": 2,
        "17–32": 1,
    }


@pytest.mark.parametrize(("crops", "warns"), [(4, True), (5, False)])
def test_it_warns_by_the_share_of_crops(crops, warns):
    seen = pd.DataFrame({"videos": [1, 2], "tracklets": [1, 2], "crops": [100 - crops, crops]})
    assert LEAST == 0.05 and (warning(seen) is not None) == warns


def test_the_warning_says_what_there_is():
    seen = pd.DataFrame({"videos": [1] * 39 + [2], "tracklets": 1, "crops": [5] * 39 + [4]})
    assert "2.5 % of the identities, with 2.0 % of the crops" in warning(seen)


def test_without_identities_nobody_comes_again():
    seen = of((-1, 1, "a"))
    assert seen.empty and shares_seen_again(seen) == {"identities": 0.0, "crops": 0.0}
    assert histogram(seen, "videos").empty and "0.0 %" in warning(seen)
