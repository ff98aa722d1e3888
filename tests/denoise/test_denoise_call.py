"""The public call: any input that can be met, and none that is mislabelled in silence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core import tables
from cion_core.denoise import Settings, Thresholds, cannot_link, denoise
from cion_core.errors import CionError


def scene(
    seed: int, people: int = 8, videos: int = 4, crops_each: int = 5
) -> tuple[pd.DataFrame, np.ndarray]:
    """Tracklets of random people and places, some crops swapped, some tracklets of one crop."""
    rng = np.random.default_rng(seed)
    looks, rows, features = rng.normal(size=(people, 12)), [], []
    for tracklet in range(int(rng.integers(1, 5 * videos + 1))):
        n = int(rng.integers(1, crops_each + 1))
        video, begin = int(rng.integers(videos)), int(rng.integers(0, 12))
        features.append(looks[rng.integers(people)] + 0.4 * rng.normal(size=(n, 12)))
        rows += [(f"v{video}", begin + k, tracklet) for k in range(n)]
    crops = pd.DataFrame(rows, columns=["video", "frame", "tracklet"])
    crops.insert(0, "crop", rng.permutation(10 * len(crops))[: len(crops)])
    return crops, np.concatenate(features).astype(np.float32)


def check(crops: pd.DataFrame, result) -> None:
    tables.validate(tables.Identities, result.identities, "identities")
    tables.validate(tables.Ledger, result.ledger, "ledger")
    named = crops.merge(result.identities, on="crop")
    assert len(named) == len(result.identities)
    i, j = cannot_link.crop_pairs(named).T
    assert (named.identity.to_numpy()[i] != named.identity.to_numpy()[j]).all()
    by_level = result.ledger.groupby("level").crop
    assert all(not crop.duplicated().any() for _, crop in by_level)
    assert set(result.ledger[result.ledger.level == "tracklet"].crop) == set(crops.crop)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from(["reciprocal", "published"]),
    st.sampled_from(["auto", 4]),
)
def test_no_two_of_a_frame_and_no_matter_the_order(
    seed: int, linking: str, size: int | str
) -> None:
    crops, features = scene(seed)
    chosen = Settings(linking=linking, range=size)
    result = denoise(crops, features, chosen)
    check(crops, result)
    order = np.random.default_rng(seed).permutation(len(crops))
    again = denoise(crops.iloc[order], 3 * features[order], chosen)
    pd.testing.assert_frame_equal(result.identities, again.identities)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.02, 0.9), st.floats(0.02, 0.9))
def test_given_thresholds_hold(seed: int, radius: float, separation: float) -> None:
    crops, features = scene(seed)
    result = denoise(
        crops,
        features,
        Settings().fixed(dict.fromkeys(tables.LEVELS, Thresholds(radius, separation, 4.0))),
    )
    check(crops, result)
    assert all(result.audit[level]["radius"] == radius for level in tables.LEVELS)
    assert result.audit["tracklet"]["noise"]["after"]["largest_radius"] <= radius + 1e-6
    assert all(result.audit[level]["calibration"] is None for level in tables.LEVELS)


def test_renumbering_crops_and_tracklets_changes_names_alone() -> None:
    crops, features = scene(5, people=6)
    other = crops.assign(tracklet=crops.tracklet * 7 + 3)
    a = denoise(crops, features).identities.set_index("crop").identity
    b = denoise(other, features).identities.set_index("crop").identity
    assert (a * 7 + 3 == b).all()


def test_a_wrong_tracklet_halves_are_told_apart_and_people_linked() -> None:
    # Three people in two videos, all together; tracklet 0 goes over to person 1 for its last crop.
    rng = np.random.default_rng(0)
    looks = rng.normal(size=(3, 32))
    rows, features = [], []
    for video in range(2):
        for person in range(3):
            for frame in range(6):
                who = 1 if (video, person, frame) == (0, 0, 5) else person
                rows.append(
                    (video * 18 + person * 6 + frame, f"v{video}", frame, video * 3 + person)
                )
                features.append(looks[who] + 0.2 * rng.normal(size=32))
    crops = pd.DataFrame(rows, columns=["crop", "video", "frame", "tracklet"])
    rho = {"tracklet": 0.3, "video": 0.3}
    result = denoise(crops, np.array(features), Settings(radius=rho, separation={"video": 0.1}))
    label = result.identities.set_index("crop").identity
    assert 5 not in label.index  # person 1 is seen beside it, so it has nowhere to go
    assert result.ledger.query("crop == 5").action.tolist() == ["dropped", "dropped"]
    assert all(label[k] == label[k + 18] for k in label.index if k < 18) and label.nunique() == 3


@pytest.mark.parametrize(
    ("tracklets", "videos"),
    [([0], ["a"]), ([0, 1], ["a", "b"]), ([0, 0, 0], ["a"] * 3), ([0, 1, 2], ["a"] * 3)],
)
@pytest.mark.parametrize("linking", ["reciprocal", "published"])
def test_tiny_inputs_give_an_identity_to_every_crop(
    tracklets: list[int], videos: list[str], linking: str
) -> None:
    n = len(tracklets)
    crops = pd.DataFrame(
        {"crop": range(n), "video": videos, "frame": range(n), "tracklet": tracklets}
    )
    result = denoise(crops, np.eye(n, 4) + 0.1, Settings(linking=linking))
    check(crops, result)
    assert result.identities.crop.tolist() == list(range(n))


def test_no_crops_give_nothing() -> None:
    crops = scene(0)[0].iloc[:0]
    result = denoise(crops, np.empty((0, 12)))
    assert result.identities.empty and result.ledger.empty
    assert denoise(crops, np.empty((0, 12)), Settings(linking="published")).identities.empty


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_features_of_any_length_that_a_number_holds_are_fine(scale: float) -> None:
    crops, features = scene(1)
    features = features.astype(np.float32)
    found, usual = (denoise(crops, values) for values in (features * scale, features))
    pd.testing.assert_frame_equal(found.identities, usual.identities)


def broken(column: str, row: int, value: object) -> pd.DataFrame:
    crops = scene(1)[0]
    crops[column] = crops[column].astype(object if isinstance(value, str) else crops[column].dtype)
    crops.loc[row, column] = value
    return crops


def test_bad_input_names_rows() -> None:
    crops, features = scene(1)
    spoilt = features.copy()
    spoilt[2, 3], spoilt[4], spoilt[1, 0], spoilt[3, 0] = np.nan, 0, -np.inf, 3e38
    spoilt[3, 1] = 3e38
    with pytest.raises(
        CionError,
        match=r"holds NaN: 1 rows, first 2 .*\n.*infinity, or is longer than 3.4e38: 2 rows, "
        r"first 1 .*, 3 .*\n.*zero: 1 rows, first 4 ",
    ):
        denoise(crops, spoilt)
    with pytest.raises(CionError, match=f"there are {len(crops)} crops"):
        denoise(crops, features[1:])
    with pytest.raises(CionError, match="repeated: 1 rows, first 3"):
        denoise(broken("crop", 3, int(crops.crop[2])), features)
    with pytest.raises(CionError, match="frame is missing or negative: 1 rows, first 1"):
        denoise(broken("frame", 1, -1), features)
    row = int(np.flatnonzero(crops.tracklet.duplicated())[0])
    with pytest.raises(CionError, match=r"more than one video or shot: .* tracklet"):
        denoise(broken("video", row, "elsewhere"), features)
    with pytest.raises(CionError, match="no column frame"):
        denoise(crops.drop(columns="frame"), features)
    with pytest.raises(CionError, match="frame is float"):
        denoise(crops.assign(frame=crops.frame + 0.5), features)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_shots_of_a_video_are_denoised_as_videos_of_their_own(seed: int) -> None:
    crops, features = scene(seed)
    shots = (crops.groupby("tracklet").frame.transform("min") >= 6).astype(int).to_numpy()
    # As files of their own: a video cut in two, in the same order, with a name that sorts alike.
    files = crops.assign(
        video=[
            f"{video}/shot 0001" if shot else video
            for video, shot in zip(crops.video, shots, strict=True)
        ]
    )
    cut = denoise(crops.assign(shot=shots), features)
    pd.testing.assert_frame_equal(cut.identities, denoise(files, features).identities)
    whole = denoise(crops.assign(shot=0), features)
    pd.testing.assert_frame_equal(whole.identities, denoise(crops, features).identities)


def test_a_tracklet_that_spans_a_cut_is_refused() -> None:
    crops, features = scene(1)
    crops["shot"] = crops.groupby("tracklet").cumcount()
    with pytest.raises(CionError, match=r"more than one video or shot: .* tracklet"):
        denoise(crops, features)
    with pytest.raises(CionError, match="column shot is float64, must be whole numbers"):
        denoise(crops.assign(shot=0.5), features)
