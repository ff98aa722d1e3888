"""New videos after an earlier result: as good as all anew, and nothing old changes unsaid."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core import tables
from cion_core.denoise import Denoised, Settings, cannot_link, denoise, state
from cion_core.denoise.noise import Noise
from cion_core.errors import CionError


def scene(
    seed: int, people: int = 12, videos: int = 8, spread: float = 0.3, cut: bool = False
) -> tuple[pd.DataFrame, np.ndarray]:
    """People in random videos, 3 to 6 crops each time, in two tracklets if `cut`.

    Crop and tracklet numbers follow no order of videos.
    """
    rng = np.random.default_rng(seed)
    looks, rows, features = rng.normal(size=(people, 16)), [], []
    numbers = rng.permutation(people * videos)
    for i, tracklet in enumerate(numbers.tolist()):
        n = int(rng.integers(3, 7))
        person, video = i % people, i // people
        features.append(
            looks[person] + spread * rng.normal(size=16) + 0.2 * rng.normal(size=(n, 16))
        )
        rows += [(f"v{video}", 40 * (person % 3) + k, tracklet, person) for k in range(n)]
    crops = pd.DataFrame(rows, columns=["video", "frame", "tracklet", "person"])
    crops.insert(0, "crop", rng.permutation(len(crops)))
    if cut:
        crops.tracklet = 2 * crops.tracklet + (crops.frame % 40 > 1)
    return crops, np.concatenate(features).astype(np.float32)


def pairs(labels: np.ndarray) -> np.ndarray:
    return (labels[:, None] == labels) & (labels[:, None] >= 0)


@pytest.mark.parametrize("linking", ["reciprocal", "published"])
@pytest.mark.parametrize("added", [["v3"], ["v0", "v7"]])
def test_it_agrees_with_all_anew(linking: str, added: list[str]) -> None:
    crops, features = scene(0)
    chosen = Settings(
        linking=linking, separation={"cross_video": {"reciprocal": 0.5, "published": 0.3}[linking]}
    )
    old = ~crops.video.isin(added).to_numpy()
    earlier = denoise(crops[old], features[old], chosen)
    grown = denoise(crops, features, Settings(linking=linking), earlier=earlier)
    whole = denoise(crops, features, chosen)
    a, b = pairs(grown.levels[-1].labels), pairs(whole.levels[-1].labels)
    assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.97
    last = grown.audit["cross_video"]
    assert (
        last["crops"] == len(grown.identities)
        and last["identities"] == grown.identities.identity.nunique()
    )
    assert grown.crops.crop.is_monotonic_increasing and set(grown.crops.crop) == set(crops.crop)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from(["reciprocal", "published"]),
    st.integers(1, 7),
    st.booleans(),
)
def test_old_identities_keep_their_numbers_or_the_ledger_says_so(
    seed: int, linking: str, new: int, cut: bool
) -> None:
    crops, features = scene(seed, people=5, spread=0.8, cut=cut)
    old = ~crops.video.isin([f"v{7 - k}" for k in range(new)]).to_numpy()
    earlier = denoise(
        crops[old],
        features[old],
        Settings(linking=linking, separation={"video": 0.9 if cut else "auto"}),
    )
    assert cut <= (pd.Series(earlier.levels[-1].links.video_identity).duplicated().any())
    grown = denoise(crops, features, Settings(linking=linking), earlier=earlier)
    before = earlier.identities.set_index("crop").identity
    after = grown.identities.set_index("crop").identity
    both = pd.concat([before, after], axis=1, keys=["before", "after"]).dropna(subset="before")
    assert both.after.notna().all()  # nothing old is lost
    # Identities are merged, never split.
    assert (both.after <= both.before).all() and (both.groupby("before").after.nunique() == 1).all()
    ledger = grown.ledger
    tables.validate(tables.Ledger, ledger, "ledger")
    assert not ledger.duplicated(["crop", "level"]).any()
    first = ledger[ledger.level == "tracklet"]
    assert set(first.crop) == set(crops.crop)
    last = ledger[ledger.level == "cross_video"].set_index("crop")
    assert (last.to.reindex(after.index) == after).all()
    moved = both.index[both.before != both.after]
    assert (last.action.reindex(moved) == "linked").all()
    others = last.set_index("from").to.to_dict()
    # Whoever a crop was linked with has its identity.
    assert all(others[last.other[crop]] == both.after[crop] for crop in moved)
    assert (
        last.distance[last.action == "linked"] < last.limit[last.action == "linked"] + 1e-6
    ).all()
    assert last.other[last.action == "kept"].eq(-1).all() and set(last.rule) == {linking}
    assert (
        last.probability[last.action == "kept"].isna().all()
        and (last.probability.dropna().between(0, 1)).all()
    )
    pd.testing.assert_frame_equal(grown.at(0), grown.identities)
    known = np.isfinite(grown.levels[-1].links.probability)
    assert known.all() or not known.any()  # of all links or of none, or they could not be cut
    together = last.groupby("to")["from"].nunique()
    alone = last[last.action == "kept"].to
    assert (together[alone.unique()] == 1).all()  # whoever is said to be alone is
    assert (together[last[last.action == "linked"].to.unique()] > 1).all()
    named = crops.merge(grown.identities, on="crop")
    i, j = cannot_link.crop_pairs(named).T
    assert (named.identity.to_numpy()[i] != named.identity.to_numpy()[j]).all()


def test_several_times_and_in_any_order_of_rows() -> None:
    crops, features = scene(1)
    result = None
    for last in (3, 5, 8):
        some = crops.video.isin([f"v{k}" for k in range(last)]).to_numpy()
        result = denoise(crops[some], features[some], earlier=result)
    order = np.random.default_rng(0).permutation(len(crops))
    some = crops.video.isin([f"v{k}" for k in range(5)]).to_numpy()
    half = denoise(
        crops[some],
        features[some],
        earlier=denoise(
            *(x[crops.video.isin(["v0", "v1", "v2"]).to_numpy()] for x in (crops, features))
        ),
    )
    again = denoise(crops.iloc[order], 2 * features[order], earlier=half)
    pd.testing.assert_frame_equal(result.identities, again.identities)
    assert denoise(crops, features, earlier=result) is result  # nothing is new


def test_a_new_video_of_which_nothing_is_left() -> None:
    crops, features = scene(0)
    # Of v7 there is one crop of each tracklet.
    whole = ~(crops.video == "v7") | ~crops.duplicated(["video", "tracklet"])
    crops, features = crops[whole], features[whole.to_numpy()]
    old = (crops.video != "v7").to_numpy()
    for linking in ("reciprocal", "published"):
        earlier = denoise(crops[old], features[old], Settings(linking=linking, min_crops=3))
        grown = denoise(crops, features, Settings(linking=linking, min_crops=3), earlier=earlier)
        pd.testing.assert_frame_equal(grown.identities, earlier.identities)
        assert (grown.ledger.level == "tracklet").sum() == len(crops)


def test_an_earlier_result_without_identities_is_no_start() -> None:
    crops, features = scene(0)
    old = (crops.video == "v0").to_numpy()
    nothing = denoise(crops[old], features[old], Settings(min_crops=50))
    assert nothing.identities.empty
    grown = denoise(crops, features, Settings(min_crops=1), earlier=nothing)
    pd.testing.assert_frame_equal(
        grown.identities, denoise(crops, features, Settings(min_crops=1)).identities
    )


def test_boxes_may_come_later_or_go() -> None:
    crops, features = scene(1)
    boxed = crops.assign(x1=0.0, y1=0.0, x2=10.0 + crops.crop, y2=30.0)
    old = (crops.video != "v7").to_numpy()
    plain = denoise(crops, features, earlier=denoise(crops[old], features[old]))
    for first, then in ((crops, boxed), (boxed, crops)):
        grown = denoise(then, features, earlier=denoise(first[old], features[old]))
        assert list(grown.crops) == list(plain.crops) == ["crop", "video", "frame", "tracklet"]
        assert len(grown.crops) == len(crops)
    both = denoise(boxed, features, earlier=denoise(boxed[old], features[old]))
    assert both.crops.set_index("crop").x2.to_dict() == boxed.set_index("crop").x2.to_dict()


def test_videos_may_be_numbers() -> None:
    crops, features = scene(1)
    crops = crops.assign(video=crops.video.str[1:].astype(int))
    result = None
    for last in (3, 5, 8):
        some = (crops.video < last).to_numpy()
        result = denoise(crops[some], features[some], earlier=result)
    assert set(result.crops.crop) == set(crops.crop)


def test_a_few_old_identities_are_no_special_case() -> None:
    crops, features = scene(2, people=3, videos=4)
    for old in ([], ["v0"], ["v0", "v1"]):
        some = crops.video.isin(old).to_numpy()
        grown = denoise(crops, features, earlier=denoise(crops[some], features[some]))
        assert (
            len(grown.identities) >= 0.9 * len(crops)
            and grown.audit["cross_video"]["identities"] <= 5
        )


def test_what_is_not_of_the_same_footage_is_refused() -> None:
    crops, features = scene(3)
    old = (crops.video != "v7").to_numpy()
    earlier = denoise(crops[old], features[old])

    def refused(
        match: str, table: pd.DataFrame = crops, values: np.ndarray = features, **knobs: object
    ) -> None:
        with pytest.raises(CionError, match=match):
            denoise(table, values, Settings(**knobs), earlier=earlier)

    refused("crops of the earlier result are not there, first", crops[~old], features[~old])
    refused(
        "have another tracklet in the earlier result, first",
        crops.assign(tracklet=crops.tracklet + 1000),
    )
    refused("have another frame in the earlier result", crops.assign(frame=crops.frame + 1))
    refused("have another video in the earlier result", crops.assign(video="x" + crops.video))
    refused(
        "new crops lie in a video of the earlier result",
        crops.assign(video=crops.video.replace("v7", "v6")),
    )
    refused(
        "new crops lie in a tracklet of the earlier result",
        crops.assign(
            tracklet=crops.tracklet.where(
                old, crops.tracklet[0] if old[0] else crops.tracklet[old].iloc[0]
            )
        ),
    )
    refused(
        "have other features in the earlier result", values=features + np.where(old[:, None], 1, 0)
    )
    refused(
        "crops are there twice",
        pd.concat([crops, crops[:1]]),
        np.concatenate([features, features[:1]]),
    )
    refused(
        "have other features in the earlier result", values=np.where(old[:, None], np.nan, features)
    )
    refused("D is 8, but 16 in the earlier result", values=features[:, :8])
    refused(r"features: shape \(3, 16\)", values=features[:3])
    refused("no column frame", crops.drop(columns="frame"))
    refused("it was made with linking reciprocal, now published", linking="published")
    refused("it was made with centre True, now False", reciprocal={"centre": False})
    refused("video: .* its thresholds are used again", separation={"video": 0.3})
    with pytest.raises(CionError, match="feature holds NaN"):
        denoise(crops, np.where(old[:, None], features, np.nan), earlier=earlier)


def test_noise_of_two_labellings_by_hand() -> None:
    a, b = Noise(10, 4, 3, None, 0.2, 0.5), Noise(6, 1, 1, 2, 0.7, 0.6)
    assert a + b == Noise(16, 5, 4, 2, pytest.approx(0.3), 0.6)


@pytest.mark.parametrize("linking", ["reciprocal", "published"])
def test_a_result_that_was_written_goes_on_like_one_in_memory(linking: str, tmp_path) -> None:
    crops, features = scene(4)
    old = (crops.video != "v7").to_numpy()
    earlier = denoise(crops[old], features[old], Settings(linking=linking))
    read = written(earlier, tmp_path)
    pd.testing.assert_frame_equal(read.identities, earlier.identities)
    assert read.audit == earlier.audit
    a, b = (
        denoise(crops, features, Settings(linking=linking), earlier=result)
        for result in (earlier, read)
    )
    pd.testing.assert_frame_equal(a.identities, b.identities)
    pd.testing.assert_frame_equal(a.ledger.astype(str), b.ledger.astype(str))
    (tmp_path / "links.npz").unlink()
    with pytest.raises(CionError, match=r"links\.npz: no such file"):
        state.read_denoised(tmp_path)


def written(result: Denoised, folder) -> Denoised:
    """As `files.write` leaves it in a folder, and read back."""
    from cion_core import work

    tables.write(tables.Ledger, result.ledger, folder / "ledger.parquet")
    work.write_json(folder / "audit.json", result.audit)
    state.write_denoised(result, folder)
    return state.read_denoised(folder)
