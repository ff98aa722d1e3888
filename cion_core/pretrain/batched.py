"""Views of many crops at once, on the device where the network is: what `operations` does, in float
and in batches.

One program makes all views of a size: whatever was drawn, it does the same operations on tensors of
the same shapes, and what a view does not need leaves its pixels as they are. So nobody waits for
the device to learn which crops an operation is for, and the program can be compiled. Pictures lie
as [R, H, 3, W], colours inside of rows: then to resize and to blur are plain matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cion_core.pretrain.views import Draws

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # numbers in views.JITTER
SHARPEST = 1e-3  # a blur's sigma that leaves every pixel as it is

# A view's numbers: its box, whether it is flipped, which of three operations on colours come before
# the turn of the hue and which behind it, with their factors, that turn, whether it is grey, the
# blur, whether it is solarised, the box that is covered, and by how much it is shifted.
WIDTHS = (4, 1, 6, 6, 1, 1, 1, 1, 4, 2)
COLUMNS = sum(WIDTHS)


def padded(crops: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """RGB uint8 crops [H, W, 3], all at most of `size`, in one array uint8 [B, h, w, 3], zero where
    none is.
    """
    batch = np.zeros((len(crops), *size, 3), np.uint8)
    for place, crop in zip(batch, crops, strict=True):
        place[: crop.shape[0], : crop.shape[1]] = crop
    return batch


def packed(draws: Draws) -> np.ndarray:
    """What was drawn, as `views` takes it: float64 [B, V, COLUMNS]; float32 holds all of these
    numbers, too.

    A jitter in the order contrast, hue, brightness, saturation has contrast alone before the hue:

        before: contrast, none, none     hue     behind: brightness, saturation, none -- each at its own place
    """
    hue = np.where(
        draws.order[..., :1] < 0, len(WIDTHS), (draws.order == HUE).argmax(-1)[..., None]
    )
    places = np.arange(3)
    # before the hue stand the first places of the order, behind it the last three, which are one
    # further on
    before = np.where(places < hue, draws.order[..., :3], -1)
    behind = np.where(places >= hue, draws.order[..., 1:], -1)
    turned = (draws.order == HUE) * draws.amount
    parts = (
        draws.box,
        draws.flip[..., None],
        np.concatenate([before, behind], -1),
        np.concatenate([draws.amount[..., :3], draws.amount[..., 1:]], -1),
        turned.sum(-1, keepdims=True),
        draws.grey[..., None],
        draws.sigma[..., None],
        draws.solarise[..., None],
        draws.erase,
        draws.shift,
    )
    return np.concatenate(parts, -1).astype(np.float64)


def views(crops: Tensor, numbers: Tensor, size: tuple[int, int], colours: Tensor) -> Tensor:
    """All views of one size of `padded` crops, normalised.

    Args:
        crops: uint8 [B, H, W, 3].
        numbers: float32 [B, V, COLUMNS], `packed`, of the V views of this size, on the crops'
            device.
        size: (height, width) of a view.
        colours: float32 [3, 3], of each channel in values of 0 to 255: the mean and the deviation
            by which views are normalised, and what covers erased boxes.

    Returns:
        float32 [V, B, 3, height, width].
    """
    mean, std, fill = colours[:, :, None]
    parts = numbers.flatten(0, 1).split(WIDTHS, -1)
    box, flip, operations, factors, turn, grey, sigma, solarised, covered, shift = parts
    x = resized(crops, box.unflatten(0, numbers.shape[:2]), shift, flip[:, 0] > 0, size)

    for place in range(3):
        x = coloured(x, operations[:, place], factors[:, place])
    x = torch.where(_each(turn[:, 0] != 0), hue(x, turn[:, 0]), x)
    for place in range(3, 6):
        x = coloured(x, operations[:, place], factors[:, place])

    x = torch.where(_each(grey[:, 0] > 0), luma(x), x)
    x = blurred(x, sigma[:, 0])
    x = torch.where(_each(solarised[:, 0] > 0) & (x >= 127.5), 255 - x, x)
    x = (torch.where(inside(covered, size), fill, x) - mean) / std
    return x.unflatten(0, numbers.shape[:2]).permute(1, 0, 3, 2, 4).contiguous()


def _each(values: Tensor) -> Tensor:
    """Something of each picture [R], to go with its pixels [R, H, 3, W]."""
    return values[:, None, None, None]


def resized(
    crops: Tensor, box: Tensor, shift: Tensor, flip: Tensor, size: tuple[int, int]
) -> Tensor:
    """Boxes of crops at one size, as `images.resize` brings them there, some then shifted, some
    flipped.

    Args:
        crops: uint8 [B, H, W, 3].
        box: float32 [B, V, 4], V of each crop.
        shift: float32 [B·V, 2], pixels down and to the right.
        flip: bool [B·V].
        size: (height, width) that they are brought to.

    Returns:
        float32 [B·V, height, 3, width], 0 to 255.
    """
    views, (whole, across) = box.shape[1], crops.shape[1:3]
    top, left, height, width = box.flatten(0, 1).T
    shrink = (height > size[0]) & (width > size[1])
    rows = _weights(top, height, whole, size[0], shrink, shift[:, 0])
    columns = _weights(left, width, across, size[1], shrink, shift[:, 1])
    columns = torch.where(flip[:, None, None], columns.flip(1), columns)

    # The rows of all views of a crop in one product, [V·height, H] by [H, 3·W], then each view's
    # columns.
    pixels = crops.permute(0, 1, 3, 2).flatten(2).float()
    down = rows.reshape(len(crops), views * size[0], whole) @ pixels
    made = down.view(len(rows), size[0] * 3, across) @ columns.mT
    return made.view(len(rows), size[0], 3, size[1])


def _weights(
    start: Tensor, length: Tensor, whole: int, size: int, shrink: Tensor, shift: Tensor
) -> Tensor:
    """How much of each of `whole` pixels goes into each of `size` that show `length` of them from
    `start` on.

    float32 [R, size, whole], rows summing to 1: means over areas where `shrink`, else bilinear.
    Pixel i shows what pixel i + `shift` would, and where there is no such pixel nothing, which is
    black.
    """
    at = torch.arange(whole, device=start.device, dtype=torch.float32) - start[:, None, None]
    step = (length / size)[:, None, None]
    i = torch.arange(size, device=start.device, dtype=torch.float32)[:, None] + shift[:, None, None]
    seen = (i >= 0) & (i < size)
    covered = torch.minimum((i + 1) * step, at + 1) - torch.maximum(i * step, at)
    last = (length - 1)[:, None, None]
    centre = ((i + 0.5) * step - 0.5).clamp_min(0).minimum(last)
    within = (at >= 0) & (at <= last)
    near = (1 - (at - centre).abs()).clamp_min(0)
    return torch.where(shrink[:, None, None], covered.clamp_min(0) / step, near * within) * seen


def luma(x: Tensor) -> Tensor:
    """Grey [R, H, 1, W] of pictures [R, H, 3, W]."""
    red, green, blue = x.split(1, 2)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def coloured(x: Tensor, operation: Tensor, factor: Tensor) -> Tensor:
    """Each picture brighter, with more contrast, or more saturated; all three move values away from
    something.

    Brightness moves them away from black, contrast from the picture's mean grey, saturation from
    the pixel's own grey.

    Args:
        x: float32 [R, H, 3, W], 0 to 255.
        operation: float32 [R], BRIGHTNESS, CONTRAST or SATURATION; -1: the picture stays as it is.
        factor: float32 [R], how far; 1 is where they are.
    """
    grey = luma(x)
    centre = torch.where(_each(operation == CONTRAST), grey.mean((1, 3), keepdim=True), grey)
    centre = torch.where(_each(operation == BRIGHTNESS), 0.0, centre)
    moved = (centre + (x - centre) * _each(factor)).clamp(0, 255)
    return torch.where(_each(operation < 0), x, moved)


def hue(x: Tensor, turn: Tensor) -> Tensor:
    """Turn the colour circle of pictures [R, H, 3, W] by `turn` [R] of a whole turn."""
    value, least = x.amax(2), x.amin(2)
    chroma = value - least
    red, green, blue = x.unbind(2)
    safe = chroma.clamp_min(1e-9)
    sector = torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4)
    sector = torch.where(value == red, (green - blue) / safe, sector)
    sector = torch.where(chroma > 0, sector, 0) + 6 * turn[:, None, None]
    # Each channel is the value, less the chroma as far as the hue lies from the channel's own third
    # of the circle.
    away = [(sector + shift) % 6 for shift in (5, 3, 1)]
    return torch.stack([value - chroma * torch.minimum(k, 4 - k).clamp(0, 1) for k in away], 2)


def blurred(x: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of pictures [R, H, 3, W], each by its own sigma [R] in pixels (0: none),
    reflected at the edges.
    """
    count, height, _, width = x.shape
    across = x.flatten(1, 2) @ _gaussian(sigma, width).mT
    return (_gaussian(sigma, height) @ across.view(count, height, 3 * width)).view_as(x)


def _gaussian(sigma: Tensor, size: int) -> Tensor:
    """How much of each of `size` pixels in a row goes into each of them: float32 [R, size, size],
    rows summing to 1.

    A kernel reaches 3 sigma, rounded up. What lies beyond the first pixel is what lies as far on
    this side of it: so pixel j counts where it is, and as pixel -j; and likewise behind the last
    one.
    """
    i = torch.arange(size, device=sigma.device)[:, None]
    j = torch.arange(size, device=sigma.device)
    spread = sigma.clamp_min(SHARPEST)[:, None, None]

    def kernel(offset: Tensor) -> Tensor:
        return torch.exp(-0.5 * (offset / spread) ** 2) * (offset.abs() <= torch.ceil(3 * spread))

    before = kernel(-j - i) * (j > 0)
    behind = kernel(2 * (size - 1) - j - i) * (j < size - 1)
    weights = kernel(j - i) + before + behind
    return weights / weights.sum(2, keepdim=True)


def inside(box: Tensor, size: tuple[int, int]) -> Tensor:
    """Which pixels of pictures of `size` lie in boxes [R, 4] (top, left, height, width): bool [R,
    height, 1, width].
    """
    top, left, height, width = (side[:, None, None, None] for side in box.T)
    row = torch.arange(size[0], device=box.device)[:, None, None]
    column = torch.arange(size[1], device=box.device)
    return (row >= top) & (row < top + height) & (column >= left) & (column < left + width)
