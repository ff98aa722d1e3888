"""Views of many crops at once, on the network's device: what `operations` does, in float.

One program makes all views of a size. Whatever was drawn, it does the same operations on tensors
of the same shapes; an operation that a view does not need leaves its pixels as they are. So the
host never waits for the device, and the program can be compiled. Pictures lie as [R, H, 3, W],
colours inside of rows: resizing and blurring are then plain matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cion_core.pretrain.views import BatchViewParameters

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # numbers in views.JITTER
SHARPEST = 1e-3  # a blur's sigma that leaves every pixel as it is

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
        drawn: the views of B crops by V recipes.

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
    is_turned = _per_picture(turn[:, 0] != 0)
    pixels = torch.where(is_turned, turn_hue(pixels, turn[:, 0]), pixels)
    for place in range(3, 6):
        pixels = adjust_colours(pixels, operations[:, place], factors[:, place])
    pixels = torch.where(_per_picture(grey[:, 0] > 0), luma(pixels), pixels)

    # 3. Blur, solarisation, erasing.
    pixels = blur(pixels, sigma[:, 0])
    inverted = _per_picture(solarise[:, 0] > 0) & (pixels >= 127.5)
    pixels = torch.where(inverted, 255 - pixels, pixels)
    pixels = torch.where(box_mask(erase, size), fill, pixels)

    # 4. Normalised, one view after another, channels before rows.
    normal = (pixels - mean) / std
    by_crop = normal.unflatten(0, numbers.shape[:2])
    return by_crop.permute(1, 0, 3, 2, 4).contiguous()


def _per_picture(values: Tensor) -> Tensor:
    """One value of each picture [R], shaped to go with pixels [R, H, 3, W]."""
    return values[:, None, None, None]


def resize_boxes(
    crops: Tensor, box: Tensor, shift: Tensor, flip: Tensor, size: tuple[int, int]
) -> Tensor:
    """Boxes of crops at one size, as `images.resize` makes them; some shifted, some mirrored.

    Args:
        crops: uint8 [B, H, W, 3].
        box: float32 [B, V, 4], V boxes of each crop: top, left, height, width.
        shift: float32 [B·V, 2], pixels down and to the right.
        flip: bool [B·V], which are mirrored.
        size: (height, width) of the result.

    Returns:
        float32 [B·V, height, 3, width], 0 to 255.
    """
    views = box.shape[1]
    crop_height, crop_width = crops.shape[1:3]
    top, left, height, width = box.flatten(0, 1).T
    shrink = (height > size[0]) & (width > size[1])
    row_weights = _resize_weights(top, height, crop_height, size[0], shrink, shift[:, 0])
    column_weights = _resize_weights(left, width, crop_width, size[1], shrink, shift[:, 1])
    mirrored = column_weights.flip(1)
    column_weights = torch.where(flip[:, None, None], mirrored, column_weights)

    # The rows of all views of a crop in one product: [B, V·height, H] @ [B, H, 3·W].
    pixels = crops.permute(0, 1, 3, 2).flatten(2).float()
    row_weights = row_weights.reshape(len(crops), views * size[0], crop_height)
    rows = row_weights @ pixels
    # Then the columns of each view: [B·V, height·3, W] @ [B·V, W, width].
    rows = rows.view(len(column_weights), size[0] * 3, crop_width)
    resized = rows @ column_weights.mT
    return resized.view(len(column_weights), size[0], 3, size[1])


def _resize_weights(
    start: Tensor, length: Tensor, pixels: int, size: int, shrink: Tensor, shift: Tensor
) -> Tensor:
    """How much of each pixel of a crop goes into each pixel of a view, along one axis.

    Example: two pixels that show four, from the first on. Each covers two of them, by halves:

        shrink = True     [[½, ½, 0, 0], [0, 0, ½, ½]]

    Args:
        start: float32 [R], the first pixel of the crop that is shown.
        length: float32 [R], how many pixels of the crop are shown.
        pixels: of the crop along this axis.
        size: of the view along this axis.
        shrink: bool [R]: means over areas where true, else bilinear.
        shift: float32 [R]: pixel i shows what pixel i + shift would without it; where there is no
            such pixel nothing, which is black.

    Returns:
        float32 [R, size, pixels], rows summing to 1, or to 0 where nothing is shown.
    """
    source = torch.arange(pixels, device=start.device, dtype=torch.float32)
    source = source - start[:, None, None]
    target = torch.arange(size, device=start.device, dtype=torch.float32)[:, None]
    target = target + shift[:, None, None]
    shown = (target >= 0) & (target < size)
    step = (length / size)[:, None, None]

    # Means over areas: the length that a pixel of the crop and a pixel of the view have in common.
    common = torch.minimum((target + 1) * step, source + 1) - torch.maximum(target * step, source)

    # Bilinear: how near the pixel of the crop is to the centre of the view's pixel.
    last = (length - 1)[:, None, None]
    centre = ((target + 0.5) * step - 0.5).clamp_min(0).minimum(last)
    within = (source >= 0) & (source <= last)
    near = (1 - (source - centre).abs()).clamp_min(0)
    return torch.where(shrink[:, None, None], common.clamp_min(0) / step, near * within) * shown


def luma(pixels: Tensor) -> Tensor:
    """Grey [R, H, 1, W] of pictures [R, H, 3, W]."""
    red, green, blue = pixels.split(1, 2)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def adjust_colours(pixels: Tensor, operation: Tensor, factor: Tensor) -> Tensor:
    """Each picture brighter, with more contrast, or more saturated.

    All three move values away from a centre: brightness from black, contrast from the picture's
    mean grey, saturation from the pixel's own grey.

    Args:
        pixels: float32 [R, H, 3, W], 0 to 255.
        operation: float32 [R], BRIGHTNESS, CONTRAST or SATURATION; -1: the picture stays as it is.
        factor: float32 [R], how far; 1 leaves values where they are.

    Returns:
        float32 [R, H, 3, W], 0 to 255.
    """
    grey = luma(pixels)
    mean_grey = grey.mean((1, 3), keepdim=True)
    centre = torch.where(_per_picture(operation == CONTRAST), mean_grey, grey)
    centre = torch.where(_per_picture(operation == BRIGHTNESS), 0.0, centre)
    moved = (centre + (pixels - centre) * _per_picture(factor)).clamp(0, 255)
    return torch.where(_per_picture(operation < 0), pixels, moved)


def turn_hue(pixels: Tensor, turn: Tensor) -> Tensor:
    """Turn the colour circle of pictures.

    Args:
        pixels: float32 [R, H, 3, W].
        turn: float32 [R], parts of a whole turn.

    Returns:
        float32 [R, H, 3, W].
    """
    value, least = pixels.amax(2), pixels.amin(2)
    chroma = value - least
    red, green, blue = pixels.unbind(2)

    # The hue in sixths of the circle: red 0, green 2, blue 4.
    divisor = chroma.clamp_min(1e-9)
    sector = torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4)
    sector = torch.where(value == red, (green - blue) / divisor, sector)
    sector = torch.where(chroma > 0, sector, 0) + 6 * turn[:, None, None]

    # Each channel is the value, less the chroma as far as the hue lies from the channel's own third
    # of the circle.
    channels = []
    for offset in (5, 3, 1):
        angle = (sector + offset) % 6
        away = torch.minimum(angle, 4 - angle).clamp(0, 1)
        channels.append(value - chroma * away)
    return torch.stack(channels, 2)


def blur(pixels: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur, reflected at the edges.

    Args:
        pixels: float32 [R, H, 3, W].
        sigma: float32 [R], of each picture, in pixels; 0: none.

    Returns:
        float32 [R, H, 3, W].
    """
    count, height, _, width = pixels.shape
    across = pixels.flatten(1, 2) @ _blur_weights(sigma, width).mT
    down = _blur_weights(sigma, height) @ across.view(count, height, 3 * width)
    return down.view_as(pixels)


def _blur_weights(sigma: Tensor, size: int) -> Tensor:
    """How much of each pixel of a row goes into each pixel of it: float32 [R, size, size].

    Rows sum to 1. A kernel reaches 3 sigma, rounded up. Beyond an edge the row is reflected: what
    lies at -2 is pixel 2. So pixel j counts at its own place j, and as its reflections at -j and
    at 2·(size - 1) - j.
    """
    target = torch.arange(size, device=sigma.device)[:, None]
    source = torch.arange(size, device=sigma.device)
    spread = sigma.clamp_min(SHARPEST)[:, None, None]
    reach = torch.ceil(3 * spread)

    def kernel(offset: Tensor) -> Tensor:
        return torch.exp(-0.5 * (offset / spread) ** 2) * (offset.abs() <= reach)

    # The pixels at the edge are no reflections of themselves.
    before = kernel(-source - target) * (source > 0)
    after = kernel(2 * (size - 1) - source - target) * (source < size - 1)
    weights = kernel(source - target) + before + after
    return weights / weights.sum(2, keepdim=True)


def box_mask(box: Tensor, size: tuple[int, int]) -> Tensor:
    """Which pixels of pictures lie in a box.

    Args:
        box: float32 [R, 4]: top, left, height, width.
        size: (height, width) of the pictures.

    Returns:
        bool [R, height, 1, width].
    """
    top, left, height, width = (_per_picture(side) for side in box.T)
    row = torch.arange(size[0], device=box.device)[:, None, None]
    column = torch.arange(size[1], device=box.device)
    in_rows = (row >= top) & (row < top + height)
    in_columns = (column >= left) & (column < left + width)
    return in_rows & in_columns
