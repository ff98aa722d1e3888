"""The only module that works around a dependency. Import it before timm, torchvision or lightly.

torchvision's wheel from PyPI carries operators compiled for CUDA builds of torch. Beside a CPU-only
torch its `_C` library does not load, the import of torchvision then fails with "operator
torchvision::nms does not exist", and timm's with it. Where that is so, the two operators that the
import itself needs are defined here in plain torch. `torchvision.io` stays unusable there: JPEGs go
through OpenCV.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Greedy non-maximum suppression, as `torchvision.ops.nms`.

    Args:
        boxes: x1, y1, x2, y2; [N, 4].
        scores: [N].
        iou_threshold: a box goes when its IoU with a kept one of higher score exceeds this.

    Returns:
        The kept rows, highest score first; int64.
    """
    order = scores.argsort(descending=True, stable=True)
    boxes = boxes[order].float()
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    alive = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    for i in range(len(boxes)):
        if alive[i]:
            low = torch.maximum(boxes[i, :2], boxes[i + 1 :, :2])
            high = torch.minimum(boxes[i, 2:], boxes[i + 1 :, 2:])
            overlap = (high - low).clamp(min=0).prod(dim=1)
            alive[i + 1 :] &= overlap <= iou_threshold * (area[i] + area[i + 1 :] - overlap)
    return order[alive]


def _library() -> Path | None:
    """Where torchvision's compiled operators lie; found without importing it."""
    spec = importlib.util.find_spec("torchvision")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    return next(iter(sorted(folder.glob("_C*"))), None) if folder else None


def _define() -> torch.library.Library | None:
    """Define the missing operators; None where torchvision's own ones load."""
    try:
        path = _library()
        if path is None:
            raise OSError("torchvision has no compiled operators")
        torch.ops.load_library(str(path))
        return None
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        library.define(f"nms{_SCHEMA}")
        # torchvision's import wants the name; nothing here calls it.
        library.define(f"qnms{_SCHEMA}")
        library.impl("nms", nms, "CompositeExplicitAutograd")
        import torchvision.extension

        # They are there now; without it torchvision.ops refuses.
        torchvision.extension._has_ops = lambda: True
        return library


_kept = _define()  # the operators live as long as this object
