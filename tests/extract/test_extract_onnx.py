"""Exported detectors: frames in, each layout of outputs, cards, and ultralytics' own results."""

from __future__ import annotations

import importlib.util
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import supervision as sv

pytest.importorskip("onnx", reason="onnx is not installed: pip install -e '.[export]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install -e '.[onnx]'")

from exported import mirror_of_pixels, network

from cion_core import compat  # noqa: F401 before ultralytics, which imports torchvision
from cion_core.errors import CionError
from cion_core.extract.detectors import _fitting
from cion_core.extract.detectors.onnx import Onnx
from cion_core.extract.settings import Extract
from cion_core.ingest import video

FRAME = np.zeros((576, 768, 3), np.uint8)  # 640 x 480 in a network of 640 x 640
CARD = {"layout": "rows", "size": [640, 640], "persons": [0]}


def with_model(settings: Extract, model: Path, confidence: float = 0.3) -> Extract:
    changed = {"detector": "onnx", "onnx": {"model": str(model)}, "confidence": confidence}
    return Extract.model_validate(settings.model_dump() | changed)


def found(settings: Extract, model: Path, frame: np.ndarray = FRAME) -> list[list[float]]:
    """x1 y1 x2 y2 confidence of what a model finds in a frame, rounded, the surest first."""
    people = Onnx(with_model(settings, model)).detect(frame, 0)
    table = np.column_stack([people.xyxy, people.confidence]).astype(float)
    return np.round(table[np.argsort(-people.confidence)], 2).tolist()


# Each layout below holds the same two people and a car, in a network of 640 x 640 that sees the
# frame between bars of 80 pixels: 320, 320 there is 384, 288 in the frame, and 1 pixel is 1.2.
PEOPLE = [[324, 168, 444, 408, 0.9], [60, 48, 120, 168, 0.6]]


def test_yolo_has_columns_of_anchors(settings, tmp_path: Path) -> None:
    columns = np.zeros((6, 20), np.float32)
    columns[:, 3] = [320, 320, 100, 200, 0.9, 0.1]
    columns[:, 4] = [322, 321, 100, 200, 0.8, 0.1]  # the same person once more
    columns[:, 7] = [75, 170, 50, 100, 0.6, 0.2]
    columns[:, 9] = [500, 500, 80, 80, 0.5, 0.7]  # rather a car than a person
    model = network(tmp_path / "a.onnx", {"output0": columns}, CARD | {"layout": "yolo"})
    assert found(settings, model) == PEOPLE
    turned = network(tmp_path / "b.onnx", {"output0": columns.T}, CARD | {"layout": "yolo"})
    assert found(settings, turned) == PEOPLE


def test_boxes_of_one_person_are_joined_above_the_cards_overlap(settings, tmp_path: Path) -> None:
    columns = np.zeros((5, 20), np.float32)
    columns[:, 0] = [320, 320, 100, 200, 0.9]
    columns[:, 1] = [345, 320, 100, 200, 0.8]  # IoU 0.6
    card = CARD | {"layout": "yolo"}
    assert len(found(settings, network(tmp_path / "a.onnx", {"output0": columns}, card))) == 2
    assert (
        len(
            found(
                settings,
                network(tmp_path / "b.onnx", {"output0": columns}, card | {"overlap": 0.5}),
            )
        )
        == 1
    )


def test_yolo_objectness_multiplies_both(settings, tmp_path: Path) -> None:
    rows = np.zeros((20, 7), np.float32)
    rows[2] = [320, 320, 100, 200, 1.0, 0.9, 0.1]
    rows[5] = [75, 170, 50, 100, 0.75, 0.8, 0.1]
    rows[6] = [200, 200, 50, 100, 0.5, 0.5, 0.1]  # 0.25 is too unsure
    model = network(tmp_path / "a.onnx", {"output": rows}, CARD | {"layout": "yolo-objectness"})
    assert found(settings, model) == PEOPLE


def test_yolox_counts_in_cells_of_three_grids(settings, tmp_path: Path) -> None:
    rows = np.zeros((80 * 80 + 40 * 40 + 20 * 20, 6), np.float32)
    # of 32 pixels: column 10, row 10 begins at 320, 320
    rows[80 * 80 + 40 * 40 + 10 * 20 + 10] = [0, 0, np.log(100 / 32), np.log(200 / 32), 0.9, 1]
    # of 16 pixels: column 4, row 10 begins at 64, 160
    rows[80 * 80 + 10 * 40 + 4] = [11 / 16, 10 / 16, np.log(50 / 16), np.log(100 / 16), 0.6, 1]
    model = network(tmp_path / "a.onnx", {"output": rows}, CARD | {"layout": "yolox"})
    assert found(settings, model) == PEOPLE


def test_rows_are_taken_as_they_are(settings, tmp_path: Path) -> None:
    rows = np.array([
        [270, 220, 370, 420, 0.9, 0],
        [50, 120, 100, 220, 0.6, 0],
        [52, 120, 102, 220, 0.2, 0],
        [400, 400, 480, 480, 0.8, 2],
    ], np.float32)  # fmt: skip
    assert found(settings, network(tmp_path / "a.onnx", {"output0": rows}, CARD)) == PEOPLE


def logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def test_detr_has_fractions_and_logits(settings, tmp_path: Path) -> None:
    boxes = np.array(
        [[0.5, 0.5, 100 / 640, 200 / 640], [75 / 640, 170 / 640, 50 / 640, 100 / 640]] * 2,
        np.float32,
    )
    logits = np.full((4, 3), -9, np.float32)
    logits[0, 1], logits[1, 1], logits[2, 2] = logit(0.9), logit(0.6), logit(0.9)
    card = CARD | {
        "layout": "detr",
        "persons": [1],
        "outputs": {"boxes": "dets", "logits": "labels"},
    }
    model = network(tmp_path / "a.onnx", {"dets": boxes, "labels": logits}, card)
    assert found(settings, model) == PEOPLE


def test_the_last_class_of_a_softmax_is_nothing(settings, tmp_path: Path) -> None:
    boxes = np.tile(np.array([0.5, 0.5, 0.2, 0.2], np.float32), (3, 1))
    logits = np.log(np.array([[0.7, 0.1, 0.2], [0.1, 0.2, 0.7], [0.2, 0.7, 0.1]], np.float32))
    card = CARD | {"layout": "detr", "scores": "softmax"}
    model = network(tmp_path / "a.onnx", {"boxes": boxes, "logits": logits}, card)
    assert [row[4] for row in found(settings, model)] == [0.7]


def test_labelled_is_told_the_size_and_names_classes(settings, tmp_path: Path) -> None:
    outputs = {
        "labels": np.array([0, 0, 2], np.int64),
        "boxes": np.array(
            [[270, 220, 370, 420], [50, 120, 100, 220], [400, 400, 480, 480]], np.float32
        ),
        "scores": np.array([0.9, 0.6, 0.8], np.float32),
    }
    model = network(tmp_path / "a.onnx", outputs, CARD | {"layout": "labelled"}, sized=True)
    assert found(settings, model) == PEOPLE


@pytest.mark.parametrize(
    ("how", "box"),
    [
        ("letterbox", [324, 168, 444, 408]),
        ("rectangle", [324, 264, 444, 504]),
        ("corner", [324, 264, 444, 504]),
        ("stretch", [324, 198, 444, 378]),
    ],
)
def test_boxes_come_back_to_the_frame_from_every_fit(
    settings, tmp_path: Path, how: str, box: list[float]
) -> None:
    rows = np.array([[270, 220, 370, 420, 0.9, 0]], np.float32)
    model = network(tmp_path / "a.onnx", {"output0": rows}, CARD | {"fit": how})
    assert found(settings, model)[0][:4] == box


@pytest.mark.parametrize("how", ["letterbox", "rectangle", "corner", "stretch"])
@pytest.mark.parametrize("shape", [(576, 768), (768, 576), (48, 320), (1080, 1921), (33, 35)])
def test_a_frame_fills_its_part_of_the_network_and_comes_back(
    how: str, shape: tuple[int, int]
) -> None:
    frame = np.full((*shape, 3), 200, np.uint8)
    fitted = _fitting.fit(frame, (416, 640), how)
    tall, wide = fitted.image.shape[:2]
    assert (tall, wide) == (416, 640) or (how == "rectangle" and tall % 32 == wide % 32 == 0)
    inside = fitted.image[..., 0] != _fitting.GREY
    y, x = np.nonzero(inside)
    edges = np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1]], float)
    assert inside.sum() == (edges[0, 2] - edges[0, 0]) * (edges[0, 3] - edges[0, 1])
    one_pixel = 1 / min(fitted.scale)
    np.testing.assert_allclose(fitted.to_frame(edges), [[0, 0, shape[1], shape[0]]], atol=one_pixel)


def test_pixels_are_normalised_as_the_card_says(settings, tmp_path: Path) -> None:
    frame = np.tile(np.array([51, 102, 204], np.uint8), (640, 640, 1))  # blue, green, red
    means = {"mean": [0.1, 0.2, 0.3], "std": [0.01, 0.02, 0.04]}
    cards = {
        "plain": {},
        "bgr": {"colours": "bgr", "divide_by": 1},
        "normal": means,
    }
    seen = {
        name: found(settings, mirror_of_pixels(tmp_path / f"{name}.onnx", CARD | card), frame)[0][
            :3
        ]
        for name, card in cards.items()
    }
    assert seen["plain"] == pytest.approx([0.8, 0.4, 0.2], abs=0.01)
    assert seen["bgr"] == pytest.approx([51, 102, 204], abs=0.01)
    # (0.2 - 0.3) / 0.04 lies left of the frame.
    assert seen["normal"] == pytest.approx([70, 10, 0], abs=0.01)


@pytest.mark.parametrize("batch", ["n", 1, 2])
def test_many_frames_are_each_what_one_is(settings, tmp_path: Path, batch: int | str) -> None:
    """Of two sizes, in three batches: dynamic, one by one, and a fixed two that must be filled."""
    rows = np.array([[270, 220, 370, 420, 0.9, 0]], np.float32)
    card = CARD | {"fit": "rectangle"}
    model = network(tmp_path / "a.onnx", {"output0": rows}, card, batch=batch)
    frames = [FRAME, np.zeros((1280, 640, 3), np.uint8), FRAME, FRAME]
    detector = Onnx(with_model(settings, model))
    many = detector.detect_many(frames, [0, 1, 2, 3])
    one_by_one = [detector.detect(frame, 0) for frame in frames]
    assert [people.xyxy.tolist() for people in many] == [
        people.xyxy.tolist() for people in one_by_one
    ]
    assert many[0].xyxy.tolist() != many[1].xyxy.tolist()


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (
            None,
            r"a\.json: no such file; it must say how a\.onnx is used, such as "
            r"(?s:.*)layouts: yolo, .*docs/detectors",
        ),
        ("no card", r"a\.json: not JSON: "),
        (
            {"layout": "ssd", "size": [640, 640], "persons": [0]},
            r"a\.json:\n  layout: must be 'yolo'",
        ),
        ({"layout": "rows", "size": [640], "persons": []}, r"(?s)a\.json:.*size.*persons"),
        (CARD | {"sizes": 3}, r"sizes: unknown key; valid: layout, size, persons"),
        (
            CARD | {"layout": "detr"},
            r"needs the names of boxes, logits\nthe network puts out output0 \['n', 1, 6\]",
        ),
        (
            CARD | {"outputs": {"rows": "boxes"}},
            r"outputs \{'rows': 'boxes'\}.*\nthe network puts out output0",
        ),
    ],
)
def test_a_wrong_card_is_named_with_what_would_be_valid(
    settings, tmp_path: Path, card, said: str
) -> None:
    rows = np.array([[270, 220, 370, 420, 0.9, 0]], np.float32)
    model = network(tmp_path / "a.onnx", {"output0": rows}, CARD)
    beside = model.with_suffix(".json")
    if card is None:
        beside.unlink()
    else:
        beside.write_text(card if isinstance(card, str) else json.dumps(card))
    with pytest.raises(CionError, match=said):
        Onnx(with_model(settings, model))


def test_a_card_that_contradicts_the_network_is_named(settings, tmp_path: Path) -> None:
    rows = np.array([[270, 220, 370, 420, 0.9, 0]], np.float32)
    fixed = network(
        tmp_path / "a.onnx", {"output0": rows}, CARD | {"size": [320, 320]}, sides=(640, 640)
    )
    with pytest.raises(
        CionError, match=r"size \[320, 320\], fit letterbox: .*takes images of \[640, 640\] alone"
    ):
        Onnx(with_model(settings, fixed))
    flat = network(tmp_path / "b.onnx", {"output0": rows[0]}, CARD)
    with pytest.raises(
        CionError, match=r"output output0 has shape \['n', 6\], and rows of layout rows has 3 axes"
    ):
        Onnx(with_model(settings, flat))
    sized = network(tmp_path / "c.onnx", {"output0": rows}, CARD, sized=True)
    with pytest.raises(
        CionError, match=r"takes images .*orig_target_sizes.*\na detector takes one image"
    ):
        Onnx(with_model(settings, sized))


def test_what_is_missing_is_named_before_anything_is_loaded(
    settings, tmp_path: Path, monkeypatch
) -> None:
    with pytest.raises(
        CionError,
        match=r"extract\.onnx\.model .*a\.onnx: no such file\n.*docs/detectors.*hog, motion",
    ):
        Onnx.check(with_model(settings, tmp_path / "a.onnx"))
    (tmp_path / "a.onnx").write_bytes(b"no model")
    (tmp_path / "a.json").write_text(json.dumps(CARD))
    Onnx.check(with_model(settings, tmp_path / "a.onnx"))
    with pytest.raises(CionError, match=r"a\.onnx: onnxruntime cannot load it"):
        Onnx(with_model(settings, tmp_path / "a.onnx"))
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name)
    )
    with pytest.raises(
        CionError, match=r"needs onnxruntime: pip install '\.\[onnx\]'; or set .*hog, motion"
    ):
        Onnx.check(with_model(settings, tmp_path / "a.onnx"))


def test_results_depend_on_the_model_and_its_card(settings, tmp_path: Path) -> None:
    rows = np.array([[270, 220, 370, 420, 0.9, 0]], np.float32)
    model = network(tmp_path / "a.onnx", {"output0": rows}, CARD)
    assert Onnx.inputs(with_model(settings, model)) == [model, model.with_suffix(".json")]


@pytest.mark.parametrize("fit", ["rectangle", "letterbox"])
def test_a_real_export_finds_what_ultralytics_finds_with_it(
    clips: Path, yolo_weights: Path, settings, fit: str
) -> None:
    """yolo11n.onnx on 6 frames of the street: letterboxing, decoding and NMS as its exporter's."""
    from ultralytics import YOLO

    card = {"layout": "yolo", "size": [640, 640], "persons": [0], "fit": fit}
    yolo_weights.with_suffix(".json").write_text(json.dumps(card))
    detector = Onnx(with_model(settings, yolo_weights))
    theirs = YOLO(str(yolo_weights), task="detect")
    probe = video.probe(clips / "vtest.avi")
    frames = [frame for _, _, frame in islice(video.Frames(clips / "vtest.avi", probe.fps, 0.5), 6)]
    people = 0
    for frame, ours in zip(frames, detector.detect_many(frames, range(6)), strict=True):
        boxes = theirs.predict(
            frame, conf=0.3, classes=[0], rect=fit == "rectangle", verbose=False
        )[0].boxes
        expected = sv.Detections(xyxy=boxes.xyxy.numpy(), confidence=boxes.conf.numpy())
        assert len(ours) == len(expected)
        order, theirs_order = np.argsort(-ours.confidence), np.argsort(-expected.confidence)
        np.testing.assert_allclose(
            ours.confidence[order], expected.confidence[theirs_order], atol=1e-4
        )
        np.testing.assert_allclose(ours.xyxy[order], expected.xyxy[theirs_order], atol=0.1)
        people += len(ours)
    assert people >= 12
