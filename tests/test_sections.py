"""Sections in which parts are chosen, at the example of the detectors."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from cion_core import config
from cion_core.errors import CionError
from cion_core.extract.settings import Extract

VALUES = {
    "detector": "motion",
    "tracker": "bytetrack",
    "confidence": 0.3,
    "min_height": 40,
    "rate": 10,
    "crop_rate": 3,
    "lost_seconds": 1.0,
    "min_crops": 3,
    "yolo": {"weights": "a.pt"},
    "bytetrack": {"overlap": 0.4},
}
MINE = """
from cion_core.config import Count, Section
from cion_core.extract.detectors.base import Detector
class Finder(Detector):
    about = "finds"
    class Settings(Section):
        boxes: Count = 1
    def detect(self, frame, index):
        raise NotImplementedError
"""


@pytest.fixture
def mine(workspace: Path) -> str:
    """A detector of one's own in the working folder, by its import path."""
    (workspace / "sections_mine.py").write_text(MINE)
    return "sections_mine.Finder"


def test_a_parts_settings_stand_under_its_name() -> None:
    p = Extract(**VALUES)
    assert p.settings("yolo").weights == p.yolo.weights == "a.pt"
    assert p.settings("motion") is not None, "chosen, with nothing to set"
    own = {key: VALUES[key] for key in VALUES if key not in ("yolo", "bytetrack")}
    assert p.own() == own | {"min_quality": 0, "min_change": 0, "blur_faces": False}, "and defaults"


def test_a_part_of_yours_has_its_settings_under_its_path(mine: str) -> None:
    p = Extract(**VALUES | {"detector": mine, "sections_mine": {"Finder": {"boxes": 3}}})
    assert p.settings(mine).boxes == 3
    assert Extract(**VALUES | {"detector": mine}).settings(mine).boxes == 1, (
        "what has defaults may be left out"
    )


def test_another_process_gets_the_same(mine: str) -> None:
    for p in (Extract(**VALUES), Extract(**VALUES | {"detector": mine})):
        again = pickle.loads(pickle.dumps(p))
        assert again.model_dump() == p.model_dump() and again.settings(p.detector) == p.settings(
            p.detector
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"detector": "rcnn"},
            "unknown detector 'rcnn'; valid are hog, motion, onnx, yolo, or the import path of a "
            "class",
        ),
        (
            {"yolo": {"weight": "a"}},
            r"yolo\.weights: is missing(?s:.*)yolo\.weight: unknown key; valid: weights",
        ),
        ({"detector": "yolo", "yolo": {}}, r"yolo\.weights: is missing"),
        (
            {"yollo": {}},
            "yollo: unknown key; valid: detector, .*blur_faces, hog, motion, onnx, yolo",
        ),
        ({"rate": 0, "min_crops": 0}, "rate: (?s:.*)min_crops: "),
    ],
)
def test_a_wrong_key_is_named_with_what_is_valid(change: dict, said: str) -> None:
    with pytest.raises(CionError, match=said):
        config.checked(VALUES | change, Extract, "params.yaml")


def test_a_missing_section_of_a_chosen_part_is_named() -> None:
    values = {key: value for key, value in VALUES.items() if key != "yolo"} | {"detector": "yolo"}
    with pytest.raises(CionError, match="yolo: is missing"):
        config.checked(values, Extract, "params.yaml")
