"""What views are made by, on OpenCV and on a device, against torchvision's operations."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from drawn_views import PLAIN_COLOURS, many, pixels, rows, theirs

from cion_core import compat  # noqa: F401  before torchvision

# isort: split
from torchvision.transforms import functional as tv

from cion_core.images import resize
from cion_core.pretrain import device_operations, views_on_cpu, views_on_device
from cion_core.pretrain.views import ViewKind


@pytest.mark.parametrize(
    ("number", "ours", "reference", "values"),
    [
        (
            device_operations.BRIGHTNESS,
            views_on_cpu.brightness,
            tv.adjust_brightness,
            (0.6, 1.0, 1.4),
        ),
        (device_operations.CONTRAST, views_on_cpu.contrast, tv.adjust_contrast, (0.6, 1.0, 1.4)),
        (device_operations.SATURATION, views_on_cpu.saturation, tv.adjust_saturation, (0.8, 1.2)),
        (device_operations.HUE, views_on_cpu.hue, tv.adjust_hue, (-0.1, 0.03, 0.1)),
    ],
)
def test_colours_as_torchvision(image, number, ours, reference, values):
    for value in values:
        expected = theirs(reference, image, value)
        assert np.abs(ours(image, value) - expected).max() <= 2
        amount = torch.tensor([value])
        if number == device_operations.HUE:
            found = device_operations.turn_hue(rows(image), amount)
        else:
            found = device_operations.adjust_colours(
                rows(image), torch.tensor([float(number)]), amount
            )
        assert np.abs(pixels(found) - expected).max() <= 0.2
    same = device_operations.adjust_colours(rows(image), torch.tensor([-1.0]), torch.tensor([1.4]))
    assert torch.equal(same, rows(image))


def test_grey_blur_and_solarise_as_torchvision(image):
    assert np.abs(views_on_cpu.grey(image) - theirs(tv.rgb_to_grayscale, image, 3)).max() <= 1
    assert np.abs(views_on_cpu.solarise(image) - theirs(tv.solarize, image, 128 / 255)).max() <= 1
    for sigma in (0.2, 0.5, 2.0):
        size = 2 * int(np.ceil(3 * sigma)) + 1
        expected = theirs(tv.gaussian_blur, image, size, sigma)
        assert np.abs(views_on_cpu.blur(image, sigma) - expected).max() <= 2
        found = device_operations.blur(rows(image), torch.tensor([sigma]))
        assert np.abs(pixels(found) - expected).max() <= 0.2
    assert torch.equal(device_operations.blur(rows(image), torch.tensor([0.0])), rows(image))


def test_a_resize_on_a_device_is_that_of_opencv():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (90, 47, 3), np.uint8)
    # The last shrinks one side alone.
    for box in ((0, 0, 90, 47), (13, 5, 70, 33), (30, 10, 20, 10), (10, 3, 60, 12)):
        for flip in (False, True):
            top, left, height, width = box
            expected = resize(image[top : top + height, left : left + width], (32, 16))
            batch, boxes = torch.from_numpy(image)[None], torch.tensor([[box]]).float()
            found = pixels(
                device_operations.resize_boxes(
                    batch, boxes, torch.zeros(1, 2), torch.tensor([flip]), (32, 16)
                )
            )
            assert np.abs(found - (expected[:, ::-1] if flip else expected)).max() <= 1.01


def test_how_far_resizing_differs_from_torchvision():
    """Enlarged the same; shrunk by means over areas, not a wider filter, so by a few levels."""
    rng = np.random.default_rng(0)
    for shape, size, mean, most in (
        ((120, 60), (256, 128), 0.5, 1.0),
        ((256, 128), (128, 64), 2.0, 7.0),
        ((200, 90), (128, 64), 2.0, 7.0),
    ):
        image = cv2.resize(
            rng.integers(0, 256, (16, 8, 3), np.uint8), shape[::-1], interpolation=cv2.INTER_CUBIC
        )
        image = np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
        difference = np.abs(resize(image, size) - theirs(tv.resize, image, list(size)))
        assert difference.mean() < mean and np.quantile(difference, 0.99) < most


def test_flip_grey_and_solarise_on_a_device_as_torchvision(image):
    crop, tensor = torch.from_numpy(image)[None], torch.from_numpy(image).permute(2, 0, 1)[None]
    size = image.shape[:2]
    flipped = device_operations.resize_boxes(
        crop, torch.tensor([[[0, 0, *size]]]).float(), torch.zeros(1, 2), torch.tensor([True]), size
    )
    assert torch.equal(flipped.permute(0, 2, 1, 3), tv.hflip(tensor).float())
    grey = device_operations.luma(rows(image))[0, :, 0] - tv.rgb_to_grayscale(tensor.float())[0, 0]
    assert grey.abs().max() < 0.1  # torchvision rounds the weights to four places
    # The view takes all of the image, and solarises it.
    kind = ViewKind(size, (2.0, 2.0), blur=0.0, sigma=(0.1, 0.2), grey=0.0, solarise=1.0)
    kind = dataclasses.replace(kind, ratio=(0.5, 0.5))
    numbers = torch.from_numpy(views_on_device.pack_parameters(many(size, kind, 1))).float()
    numbers[..., 4] = 0  # not flipped
    found = views_on_device.make_views(crop, numbers, size, PLAIN_COLOURS)[0]
    assert torch.equal(found, tv.solarize(tensor, 128).float())
