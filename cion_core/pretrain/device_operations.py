"""What views on a device are made by: resizing, colours, blur and boxes of many pictures at once.

Each picture has its own numbers, all of one operation in one tensor. Pictures lie as [R, H, 3, W],
colours inside of rows: resizing and blurring are then plain matrix products.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # numbers in views.JITTER
SHARPEST = 1e-3  # a blur's sigma that leaves every pixel as it is


def per_picture(values: Tensor) -> Tensor:
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
    begins = torch.maximum(target * step, source)
    ends = torch.minimum((target + 1) * step, source + 1)
    by_area = (ends - begins).clamp_min(0) / step

    # Bilinear: how near the pixel of the crop is to the centre of the view's pixel.
    last = (length - 1)[:, None, None]
    centre = ((target + 0.5) * step - 0.5).clamp_min(0).minimum(last)
    within = (source >= 0) & (source <= last)
    near = (1 - (source - centre).abs()).clamp_min(0)
    bilinear = near * within
    return torch.where(shrink[:, None, None], by_area, bilinear) * shown


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
    centre = torch.where(per_picture(operation == CONTRAST), mean_grey, grey)
    centre = torch.where(per_picture(operation == BRIGHTNESS), 0.0, centre)
    moved = (centre + (pixels - centre) * per_picture(factor)).clamp(0, 255)
    return torch.where(per_picture(operation < 0), pixels, moved)


def turn_hue(pixels: Tensor, turn: Tensor) -> Tensor:
    """Turn the colour circle of pictures.

    Args:
        pixels: float32 [R, H, 3, W].
        turn: float32 [R], parts of a whole turn.

    Returns:
        float32 [R, H, 3, W].
    """
    value = pixels.amax(2)
    chroma = value - pixels.amin(2)
    red, green, blue = pixels.unbind(2)

    # The hue in sixths of the circle: red 0, green 2, blue 4.
    divisor = chroma.clamp_min(1e-9)
    near_red = (green - blue) / divisor
    near_green = (blue - red) / divisor + 2
    near_blue = (red - green) / divisor + 4
    sector = torch.where(value == green, near_green, near_blue)
    sector = torch.where(value == red, near_red, sector)
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
        is_within = offset.abs() <= reach
        return torch.exp(-0.5 * (offset / spread) ** 2) * is_within

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
    top, left, height, width = (per_picture(side) for side in box.T)
    row = torch.arange(size[0], device=box.device)[:, None, None]
    column = torch.arange(size[1], device=box.device)
    in_rows = (row >= top) & (row < top + height)
    in_columns = (column >= left) & (column < left + width)
    return in_rows & in_columns
