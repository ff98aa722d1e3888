"""Views of many crops at once, on the network's device: what `views_on_cpu` does, in float.

One program makes all views of a size. Whatever was drawn, it does the same operations
(`device_operations`) on tensors of the same shapes; an operation that a view does not need leaves
its pixels as they are. So the host never waits for the device, and the program can be compiled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cion_core.pretrain.device_operations import (
    HUE,
    adjust_colours,
    blur,
    box_mask,
    luma,
    per_picture,
    resize_boxes,
    turn_hue,
)
from cion_core.pretrain.views import BatchViewParameters

# The numbers of one view, and how many each part of them has. `operations` are three operations on
# colours before the turn of the hue and three after it; `factors` belong to them.
PARTS = {
    "box": 4,
    "flip": 1,
    "operations": 6,
    "factors": 6,
    "hue": 1,
    "grey": 1,
    "sigma": 1,
    "solarise": 1,
    "erase": 4,
    "shift": 2,
}
WIDTHS = tuple(PARTS.values())
COLUMNS = sum(WIDTHS)


def pad_crops(crops: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Crops of several sizes in one array, each in its top left corner.

    Args:
        crops: RGB uint8 [H, W, 3] each, none larger than `size`.
        size: (height, width) of the array.

    Returns:
        uint8 [B, height, width, 3], zero beside the crops.
    """
    batch = np.zeros((len(crops), *size, 3), np.uint8)
    for canvas, crop in zip(batch, crops, strict=True):
        height, width = crop.shape[:2]
        canvas[:height, :width] = crop
    return batch


def pack_parameters(drawn: BatchViewParameters) -> np.ndarray:
    """Drawn views as the rows of numbers that `make_views` takes.

    A jitter is split at its turn of the hue. Every other operation keeps its place in the order,
    the last three places being counted from 0 again; -1 is no operation:

        order     contrast, hue, brightness, saturation
        before    contrast, -1, -1
        after     -1, brightness, saturation

    Args:
        drawn: the views of B crops by V kinds.

    Returns:
        float64 [B, V, COLUMNS]; float32 holds all of these numbers, too.
    """
    is_hue = drawn.order == HUE
    is_jittered = drawn.order[..., :1] >= 0
    # Without a jitter the hue has a place after all others, and nothing comes after it.
    hue_place = np.where(is_jittered, is_hue.argmax(-1)[..., None], drawn.order.shape[-1])
    places = np.arange(3)
    before = np.where(places < hue_place, drawn.order[..., :3], -1)
    after = np.where(places >= hue_place, drawn.order[..., 1:], -1)
    factors = np.concatenate([drawn.amount[..., :3], drawn.amount[..., 1:]], -1)
    hue_turn = (is_hue * drawn.amount).sum(-1, keepdims=True)
    parts = (
        drawn.box,
        drawn.flip[..., None],
        np.concatenate([before, after], -1),
        factors,
        hue_turn,
        drawn.grey[..., None],
        drawn.sigma[..., None],
        drawn.solarise[..., None],
        drawn.erase,
        drawn.shift,
    )
    return np.concatenate(parts, -1).astype(np.float64)


def make_views(crops: Tensor, numbers: Tensor, size: tuple[int, int], colours: Tensor) -> Tensor:
    """All views of one size of some crops, normalised.

    Args:
        crops: uint8 [B, H, W, 3], from `pad_crops`.
        numbers: float32 [B, V, COLUMNS], from `pack_parameters`, of the V views of this size, on
            the crops' device.
        size: (height, width) of a view.
        colours: float32 [3, 3], of each channel in values of 0 to 255: the mean and the deviation
            by which views are normalised, and what covers erased boxes.

    Returns:
        float32 [V, B, 3, height, width].
    """
    mean, std, fill = colours[:, :, None]
    parts = numbers.flatten(0, 1).split(WIDTHS, -1)
    box, flip, operations, factors, turn, grey, sigma, solarise, erase, shift = parts
    boxes = box.unflatten(0, numbers.shape[:2])

    # 1. The part of the crop that the view shows, at the view's size.
    pixels = resize_boxes(crops, boxes, shift, flip[:, 0] > 0, size)

    # 2. Its colours: up to three operations, the turn of the hue, up to three operations.
    for place in range(3):
        pixels = adjust_colours(pixels, operations[:, place], factors[:, place])
    is_turned = per_picture(turn[:, 0] != 0)
    pixels = torch.where(is_turned, turn_hue(pixels, turn[:, 0]), pixels)
    for place in range(3, 6):
        pixels = adjust_colours(pixels, operations[:, place], factors[:, place])
    pixels = torch.where(per_picture(grey[:, 0] > 0), luma(pixels), pixels)

    # 3. Blur, solarisation, erasing.
    pixels = blur(pixels, sigma[:, 0])
    inverted = per_picture(solarise[:, 0] > 0) & (pixels >= 127.5)
    pixels = torch.where(inverted, 255 - pixels, pixels)
    pixels = torch.where(box_mask(erase, size), fill, pixels)

    # 4. Normalised, one view after another, channels before rows.
    normal = (pixels - mean) / std
    by_crop = normal.unflatten(0, numbers.shape[:2])
    return by_crop.permute(1, 0, 3, 2, 4).contiguous()
