"""The bench of probabilities: what merges join, pair by pair, and what is told in each tenth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cion_core.denoise import denoise


def test_each_merge_is_judged_by_all_pairs_of_tracklets_of_different_cameras(bench) -> None:
    made = bench("simulator").simulate(
        people=40, cameras=3, sequences=2, per_person=4, crops=3, tail=1.0, seed=3
    )
    crops = made.crops.assign(camera=made.crops.video.str.partition("/")[0])
    crops.person = np.where(crops.person < 0, -1 - crops.crop, crops.person)
    shuffled = crops.sample(frac=1, random_state=0)
    footage = bench("footage").Footage(shuffled, made.features[shuffled.index])
    found = bench("reliability").links(footage)
    result = denoise(crops, made.features)
    kept = result.levels[-1].links
    labelled = crops.assign(identity=result.levels[1].labels)

    def of_most(column: str) -> pd.Series:
        known = labelled[labelled.identity >= 0] if column == "identity" else labelled
        return known.groupby("tracklet")[column].agg(lambda values: values.mode().min())

    tracklets = pd.concat(
        [of_most("identity"), of_most("person"), of_most("camera")], axis=1
    ).dropna()
    sets = [tracklets[tracklets.identity == name] for name in kept.video_identity]
    rows = []
    for (i, j), sure in zip(kept.merges.tolist(), kept.probability, strict=True):
        both = sets[i].merge(sets[j], how="cross")
        both = both[both.camera_x != both.camera_y]
        rows.append((sure, len(both), int((both.person_x == both.person_y).sum())))
        sets[i] = pd.concat([sets[i], sets[j]])
    want = pd.DataFrame(rows, columns=["probability", "pairs", "right_pairs"])
    want = want[want.pairs > 0].reset_index(drop=True)
    assert 0 < want.right_pairs.sum() < want.pairs.sum()
    pd.testing.assert_frame_equal(found[list(want)], want)


def test_tenths_by_hand(bench) -> None:
    table = pd.DataFrame({
        "probability": [0.91, 0.99, 0.31, 0.33, 1.0], "right": [True, True, False, True, False],
        "pairs": [1, 3, 2, 2, 4], "right_pairs": [1, 3, 0, 2, 0],
    })  # fmt: skip
    told = bench("reliability").told(table)
    assert (
        told.index.tolist() == [3, 9]
        and told.merges.tolist() == [2, 3]
        and told.pairs.tolist() == [4, 8]
    )
    assert told.told.tolist() == pytest.approx(
        [0.32, 2.9 / 3]
    ) and told.right.tolist() == pytest.approx([0.5, 2 / 3])
    assert told["told of pairs"].tolist() == pytest.approx([0.32, (0.91 + 2.97 + 4) / 8])
    assert told["right pairs"].tolist() == pytest.approx([0.5, 0.5])
    many = pd.concat([table] * 20)
    assert bench("reliability").worst(many) == pytest.approx((2.9 / 3 - 2 / 3, 7.88 / 8 - 0.5))
