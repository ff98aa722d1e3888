"""One object for all that shapes a result: thresholds, what each level depends on, copies."""

from __future__ import annotations

import pickle

import pytest

from cion_core.denoise import Settings, Thresholds
from cion_core.denoise.settings import Denoise
from cion_core.tables import LEVELS


def test_thresholds_are_per_level() -> None:
    settings = Settings(radius={"tracklet": 0.2}, separation={"cross_video": 0.7})
    assert [settings.thresholds(level) for level in LEVELS] == [
        Thresholds(0.2), Thresholds(), Thresholds(None, 0.7)
    ]  # fmt: skip
    with pytest.raises(ValueError, match="radius"):
        Settings(radius=0.2)  # no number suits all levels
    with pytest.raises(ValueError, match="less than or equal to 2"):
        Settings(separation={"video": 2.5})
    with pytest.raises(ValueError, match="stride 8 must be below range 8"):
        Settings(range=8, stride=8)


def test_what_a_run_found_can_be_fixed() -> None:
    settings = Settings(min_crops=3, radius={"video": 0.5})
    found = {
        "tracklet": Thresholds(0.3),
        "video": Thresholds(0.4, 0.0),
        "cross_video": Thresholds(None, 0.725),
    }
    fixed = settings.fixed(found)
    assert {level: fixed.thresholds(level) for level in LEVELS} == found and fixed.min_crops == 3
    assert settings.thresholds("video") == Thresholds(0.5) and type(fixed) is type(settings)
    some = settings.fixed({"tracklet": Thresholds(0.3)})
    assert some.thresholds("tracklet") == Thresholds(0.3) and some.thresholds(
        "video"
    ) == Thresholds(0.5)


def test_a_level_depends_on_what_shapes_it() -> None:
    plain = Settings()
    changes = {
        "min_crops": (2, {"tracklet"}),
        "radius": ({"video": 0.5}, {"video"}),
        "separation": ({"cross_video": 0.5}, {"cross_video"}),
        "false_link_rate": (0.1, set(LEVELS)),
        "cannot_link": (False, set(LEVELS[1:])),
        "cut": ({"tracklet": 1.5}, {"tracklet"}),
        "linking": ("published", {"cross_video"}),
        "reciprocal": ({"centre": False}, {"cross_video"}),
        "published": ({}, set()),
        "range": (10, {"cross_video"}),
        "stride": (5, {"cross_video"}),
    }
    for name, (value, levels) in changes.items():
        other = Settings(**{name: value})
        assert {level for level in LEVELS if other.of(level) != plain.of(level)} == levels, name
    assert Denoise(earlier="somewhere").of("cross_video") == plain.of("cross_video")
    assert set(changes) == set(plain.model_dump()) | {"published"}


def test_settings_made_in_any_way_are_equal() -> None:
    made = Settings(linking="published", min_crops=2)
    assert made == Settings.model_validate({"linking": "published", "min_crops": 2})
    assert made == pickle.loads(pickle.dumps(made)) != Settings()
    assert made == Settings.model_validate(made.model_dump())
    assert Settings().settings("reciprocal").centre
    with pytest.raises(ValueError, match="frozen"):
        made.min_crops = 3
