"""Views on a device: those of OpenCV, by one program whatever was drawn."""

import cv2
import numpy as np
import pytest
import torch
from dispatched import Dispatches
from drawn_views import PLAIN_COLOURS, PUBLISHED, many

from cion_core.pretrain import views_on_cpu, views_on_device
from cion_core.pretrain.view_batches import MEAN, STD
from cion_core.pretrain.views import (
    BatchViewParameters,
    ViewKind,
    draw_parameters,
    lup,
    multi_crop,
    weak,
)


@pytest.mark.parametrize("seed", range(4))
def test_views_on_a_device_are_those_of_opencv(seed):
    """The same draws: alike but for rounding, which OpenCV's form does after each operation."""
    rng = np.random.default_rng(seed)
    crops = []
    for height, width in ((40, 20), (130, 64), (64, 32), (25, 60), (300, 150)):
        image = cv2.resize(
            rng.integers(0, 256, (8, 4, 3), np.uint8),
            (width, height),
            interpolation=cv2.INTER_CUBIC,
        )
        crops.append(np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8))
    first, second, local = multi_crop((64, 32), (32, 16), 1, PUBLISHED)
    everything = ViewKind(
        (64, 32), (0.3, 1.0), 1.0, (0.1, 2.0), jitter=1.0, grey=0.0, solarise=0.5, erase=1.0
    )
    for kinds in (
        [first, second],
        [local],
        lup((64, 32), (0.4, 0.6)),
        [everything] * 5,
        [weak((64, 32))] * 3,
    ):
        generators = [np.random.default_rng([seed, number]) for number in range(len(crops))]
        drawn = draw_parameters([crop.shape[:2] for crop in crops], kinds, generators)
        batch = torch.from_numpy(views_on_device.pad_crops(crops, (300, 150)))
        numbers = torch.from_numpy(views_on_device.pack_parameters(drawn)).float()
        found = (
            views_on_device.make_views(batch, numbers, kinds[0].size, PLAIN_COLOURS)
            .permute(1, 0, 3, 4, 2)
            .numpy()
        )
        for crop, singles, views in zip(crops, drawn.per_view(), found, strict=True):
            for kind, single, view in zip(kinds, singles, views, strict=True):
                wrong = np.abs(view - views_on_cpu.make_view(crop, kind, single))
                # at 128, solarising turns a rounding of 1 into a large difference, so not the
                # largest one counts
                assert wrong.mean() < 0.8 and np.quantile(wrong, 0.99) <= 4, single


def test_erased_pixels_are_nothing_once_normalised(image):
    mean, std = torch.tensor(MEAN) * 255, torch.tensor(STD) * 255
    kind = ViewKind((48, 24), (0.2, 1.0), blur=0.0, sigma=(0.1, 1.0), erase=1.0)
    drawn = many((48, 24), kind, 1)
    numbers = torch.from_numpy(views_on_device.pack_parameters(drawn)).float()
    made = views_on_device.make_views(
        torch.from_numpy(image)[None],
        numbers,
        (48, 24),
        torch.stack([mean, std, torch.tensor(views_on_cpu.FILL)]),
    )
    top, left, height, width = drawn.erase[0, 0]
    covered = made[0, 0, :, top : top + height, left : left + width]
    assert covered.numel() and covered.abs().max() < 0.01


def test_what_comes_before_the_hue_and_behind_it():
    """By hand: contrast, hue, brightness, saturation; and colours that are left alone."""
    order, amount = (
        np.array([[[1, 3, 0, 2]], [[-1] * 4]]),
        np.array([[[1.2, 0.05, 0.7, 0.9]], [[1.0] * 4]]),
    )
    none = np.zeros((2, 1))
    draws = BatchViewParameters(
        np.zeros((2, 1, 4)),
        none,
        order,
        amount,
        none,
        none,
        none,
        np.zeros((2, 1, 4)),
        np.zeros((2, 1, 2)),
    )
    numbers = views_on_device.pack_parameters(draws)
    assert numbers.shape == (2, 1, views_on_device.COLUMNS)
    operations, factors, turn = numbers[:, 0, 5:11], numbers[:, 0, 11:17], numbers[:, 0, 17]
    assert operations.tolist() == [[1, -1, -1, -1, 0, 2], [-1] * 6] and turn.tolist() == [0.05, 0]
    assert factors[0, [0, 4, 5]].tolist() == [1.2, 0.7, 0.9]


def test_a_view_takes_the_same_program_whatever_was_drawn():
    """Waiting to learn which crops an operation is for would idle the device 100 times a step."""
    counts = []
    for jitter, blur in ((0.0, 0.0), (1.0, 1.0)):
        kind = ViewKind(
            (16, 8), (0.2, 1.0), blur=blur, sigma=(0.1, 1.0), jitter=jitter, erase=jitter
        )
        numbers = torch.from_numpy(views_on_device.pack_parameters(many((24, 12), kind, 4))).float()
        with Dispatches() as seen:
            views_on_device.make_views(
                torch.zeros(4, 24, 12, 3, dtype=torch.uint8), numbers, (16, 8), PLAIN_COLOURS
            )
        counts.append(seen.calls)
        assert seen.kernels < 400
    assert counts[0] == counts[1]
    assert not set(counts[0]) & {
        "aten.nonzero.default",
        "aten._local_scalar_dense.default",
        "aten.index.Tensor",
    }
