"""Made-up networks as ONNX files: outputs that are known, whatever goes in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 17, 9  # which two-year-old runtimes load
BATCH = "n"


def network(
    path: Path,
    outputs: Mapping[str, np.ndarray],
    card: Mapping[str, object],
    batch: int | str = BATCH,
    sides: tuple[int | str, int | str] = ("height", "width"),
    sized: bool = False,
) -> Path:
    """Write a network that puts out `outputs` for every image of a batch, and its card beside it.

    Args:
        path: The ONNX file.
        outputs: By name, without the axis of the batch.
        card: The card's keys.
        batch: How many images it takes; a word where it takes any number.
        sides: Height and width, likewise.
        sized: Whether it also takes the size [n, 2] that boxes are wanted in.
    """
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, *sides])]
    if sized:
        inputs.append(
            helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, [batch, 2])
        )
    nodes = [helper.make_node("Shape", ["images"], ["count"], start=0, end=1)]
    constants, results = [], []
    for name, values in outputs.items():
        values = np.asarray(values)
        constants += [
            numpy_helper.from_array(values[None], f"{name}_values"),
            numpy_helper.from_array(np.array(values.shape, np.int64), f"{name}_shape"),
        ]
        nodes += [
            helper.make_node("Concat", ["count", f"{name}_shape"], [f"{name}_wanted"], axis=0),
            helper.make_node("Expand", [f"{name}_values", f"{name}_wanted"], [name]),
        ]
        kind = helper.np_dtype_to_tensor_dtype(values.dtype)
        results.append(helper.make_tensor_value_info(name, kind, [batch, *values.shape]))
    return _save(path, helper.make_graph(nodes, "made_up", inputs, results, constants), card)


def mirror_of_pixels(path: Path, card: Mapping[str, object]) -> Path:
    """A network of layout rows that puts out one box, whose x1 y1 x2 are the means of the channels.

    The values are what the network gets to see: normalised, in the order of the card.
    """
    image = helper.make_tensor_value_info(
        "images", TensorProto.FLOAT, [BATCH, 3, "height", "width"]
    )
    rest = numpy_helper.from_array(np.array([[1000, 0.9, 0]], np.float32), "rest_values")
    width = numpy_helper.from_array(np.array([3], np.int64), "rest_shape")
    axis = numpy_helper.from_array(np.array([1], np.int64), "axis")
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Shape", ["images"], ["count"], start=0, end=1),
        helper.make_node("Concat", ["count", "rest_shape"], ["wanted"], axis=0),
        helper.make_node("Expand", ["rest_values", "wanted"], ["rest"]),
        helper.make_node("Concat", ["means", "rest"], ["row"], axis=1),
        helper.make_node("Unsqueeze", ["row", "axis"], ["rows"]),
    ]
    result = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [BATCH, 1, 6])
    return _save(
        path, helper.make_graph(nodes, "mirror", [image], [result], [rest, width, axis]), card
    )


def _save(path: Path, graph: onnx.GraphProto, card: Mapping[str, object]) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR
    onnx.checker.check_model(model)
    onnx.save(model, path)
    path.with_suffix(".json").write_text(json.dumps(dict(card)))
    return path
