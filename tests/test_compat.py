"""torchvision and timm import beside this torch, and the stand-in for nms is nms."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from cion_core import compat


def slow_nms(boxes: np.ndarray, scores: np.ndarray, limit: float) -> list[int]:
    """Greedy suppression, one pair at a time."""

    def iou(a: np.ndarray, b: np.ndarray) -> float:
        w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
        h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
        return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)

    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(iou(boxes[i], boxes[j]) <= limit for j in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("limit", [0.0, 0.3, 0.7, 1.0])
def test_nms_is_greedy_suppression(limit: float) -> None:
    rng = np.random.default_rng(0)
    corner, size = rng.uniform(0, 50, (60, 2)), rng.uniform(5, 30, (60, 2))
    boxes, scores = (
        np.hstack((corner, corner + size)).astype(np.float32),
        rng.random(60).astype(np.float32),
    )
    got = compat.nms(torch.from_numpy(boxes), torch.from_numpy(scores), limit)
    assert got.tolist() == slow_nms(boxes, scores, limit)


def test_nms_of_no_boxes_keeps_none() -> None:
    assert compat.nms(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []


def test_torchvision_uses_an_nms_that_agrees() -> None:
    import torchvision

    boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30.0]])
    scores = torch.tensor([0.5, 0.9, 0.1])
    assert torchvision.ops.nms(boxes, scores, 0.5).tolist() == [1, 2]
    assert torchvision.ops.batched_nms(boxes, scores, torch.tensor([0, 1, 0]), 0.5).tolist() == [
        1,
        0,
        2,
    ]


def test_a_fresh_process_imports_timm_after_compat() -> None:
    code = (
        "from cion_core import compat; import timm, torchvision.transforms; "
        "print(timm.is_model('resnet18'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_an_absent_library_is_replaced() -> None:
    """If torchvision has no compiled operators, nothing is loaded and stand-ins are defined."""
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'torchvision' else find(name, *a)\n"
        "from cion_core import compat; u.find_spec = find\n"
        "import torch; nms = torch.ops.torchvision.nms\n"
        "print(nms(torch.tensor([[0, 0, 1, 1.]]), torch.ones(1), 0.5).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[0]"
