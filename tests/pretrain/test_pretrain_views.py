"""Operations against torchvision's, ranges by statistics, views by their seed alone."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from dispatched import Dispatches

from cion_core import compat  # noqa: F401  before torchvision

# isort: split
from torchvision.transforms import functional as tv

from cion_core.images import resize
from cion_core.pretrain import device_operations, views_on_cpu, views_on_device
from cion_core.pretrain.settings import Views
from cion_core.pretrain.view_batches import MEAN, STD
from cion_core.pretrain.views import (
    BatchViewParameters,
    ViewKind,
    ViewParameters,
    draw_parameters,
    lup,
    multi_crop,
    weak,
)

# With these, views stay between 0 and 255.
PLAIN_COLOURS = torch.tensor([[0.0] * 3, [1.0] * 3, views_on_cpu.FILL])
PUBLISHED = Views(jitter=0.8, grey=0.2, blur=(1.0, 0.1, 0.5), solarise=0.2, local_scale=(0.05, 0.8))


@pytest.fixture
def image() -> np.ndarray:
    """Smooth colours with some texture, RGB uint8 [48, 24, 3]."""
    rng = np.random.default_rng(5)
    smooth = np.kron(rng.integers(0, 256, (6, 3, 3)), np.ones((8, 8, 1)))
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


def theirs(function, image: np.ndarray, *args) -> np.ndarray:
    """torchvision's operation in float on [0, 1]; float64 0 to 255 [H, W, 3]."""
    tensor = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    return function(tensor, *args).permute(1, 2, 0).double().numpy() * 255


def rows(image: np.ndarray) -> torch.Tensor:
    """One picture as `device_operations` lays it out: [1, H, 3, W]."""
    return torch.from_numpy(image).permute(0, 2, 1)[None].float()


def pixels(x: torch.Tensor) -> np.ndarray:
    """The other way round: [H, W, 3]."""
    return x[0].permute(0, 2, 1).numpy()


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


def many(shape, kind, count, seed=0) -> BatchViewParameters:
    """So many views of crops of one shape, [count, 1]."""
    seeds = np.random.SeedSequence(seed).spawn(count)
    return draw_parameters([shape] * count, [kind], [np.random.default_rng(own) for own in seeds])


def one(shape, kind, rng) -> ViewParameters:
    """A view of one crop."""
    return draw_parameters([shape], [kind], [rng]).per_view()[0][0]


def test_crop_boxes_lie_inside_and_fill_their_range():
    boxes = many((256, 128), ViewKind((64, 32), (0.05, 0.8), blur=0.0, sigma=(0.1, 1.0)), 3000).box[
        :, 0
    ]
    top, left, height, width = boxes.T
    assert (boxes[:, :2] >= 0).all() and (top + height <= 256).all() and (left + width <= 128).all()
    area, ratio = height * width / (256 * 128), width / height
    assert 0.04 < area.min() < 0.08 and 0.75 < area.max() <= 0.81
    assert 0.38 < ratio.min() < 0.42 and 0.58 < ratio.max() < 0.63


def made(image, kind, rng):
    return views_on_cpu.make_view(image, kind, one(image.shape[:2], kind, rng))


@pytest.mark.parametrize("shape", [(20, 60), (60, 4), (1, 1)])
def test_a_crop_of_any_shape_gives_a_view(shape):
    rng = np.random.default_rng(0)
    for kind in [
        *multi_crop((64, 32), (32, 16), 1, PUBLISHED),
        *lup((64, 32), (0.4, 0.6)),
        weak((64, 32)),
    ]:
        assert made(np.full((*shape, 3), 7, np.uint8), kind, rng).shape == (*kind.size, 3)


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


def test_recipes_are_the_published_ones():
    first, second, *local = multi_crop((256, 128), (128, 64), 8, PUBLISHED)
    assert [(r.blur, r.solarise) for r in (first, second)] == [(1.0, 0.0), (0.1, 0.2)]
    assert len(local) == 8 and {(r.size, r.scale, r.blur) for r in local} == {
        ((128, 64), (0.05, 0.8), 0.5)
    }
    assert {(r.jitter, r.grey, r.erase) for r in (first, second, *local)} == {(0.8, 0.2, 0.0)}
    assert first.sigma == (0.1, 2.0) and multi_crop((64, 32), (32, 16), 0, PUBLISHED)[0].sigma == (
        0.025,
        0.5,
    )
    first, second = lup((256, 128), (3 / 4, 4 / 3))
    assert (
        first
        == second
        == ViewKind(
            (256, 128),
            (0.2, 1.0),
            0.5,
            (0.1, 2.0),
            jitter=0.0,
            grey=0.2,
            erase=0.5,
            ratio=(3 / 4, 4 / 3),
        )
    )


def test_a_weak_view_is_all_of_the_crop_somewhere_else(image):
    """The published way: pad by 10 of 256 rows with black, cut anywhere, change no colour."""
    kind = weak((256, 128))
    assert (kind.pad, kind.jitter, kind.grey, kind.blur, kind.erase) == (
        10,
        0.0,
        0.0,
        0.0,
        0.0,
    )
    assert weak((64, 32)).pad == 2, "in proportion"
    drawn = [single for (single,) in many((48, 24), kind, 2000).per_view()]
    for axis in (0, 1):
        counts = np.bincount([single.shift[axis] + 10 for single in drawn], minlength=21)
        assert len(counts) == 21 and counts.min() > 50, "each shift is as likely"
    assert abs(sum(single.flip for single in drawn) / 2000 - 0.5) < 0.04
    padded = np.pad(resize(image, (256, 128)), ((10, 10), (10, 10), (0, 0)))
    for single in drawn[:20]:
        top, left = (10 + by for by in single.shift)
        expected = padded[top : top + 256, left : left + 128]
        made = views_on_cpu.make_view(image, kind, single)
        assert np.array_equal(made, expected[:, ::-1] if single.flip else expected)


@pytest.mark.parametrize("operation", ["jitter", "grey", "blur", "solarise", "erase"])
def test_operations_happen_as_often_as_asked(operation):
    none = {"jitter": 0.0, "grey": 0.0, "blur": 0.0, "solarise": 0.0, "erase": 0.0}
    kind = ViewKind((16, 8), (0.2, 1.0), sigma=(0.1, 1.0), **none | {operation: 0.3})
    views = [single for (single,) in many((48, 24), kind, 2000).per_view()]
    counts = {
        "jitter": sum(bool(v.jitter) for v in views), "grey": sum(v.grey for v in views),
        "blur": sum(v.sigma > 0 for v in views), "solarise": sum(v.solarise for v in views),
        "erase": sum(v.erase is not None for v in views),
    }  # fmt: skip
    assert abs(counts.pop(operation) / 2000 - 0.3) < 0.04 and set(counts.values()) == {0}


def test_jitter_amounts_and_orders_fill_their_ranges():
    kind = ViewKind((16, 8), (0.2, 1.0), blur=1.0, sigma=(0.1, 2.0), jitter=1.0)
    views = [single for (single,) in many((48, 24), kind, 2000).per_view()]
    amounts = np.array([[amount for _, amount in sorted(v.jitter)] for v in views])
    np.testing.assert_allclose(amounts.min(0), [0.6, 0.6, 0.8, -0.1], atol=0.01)
    np.testing.assert_allclose(amounts.max(0), [1.4, 1.4, 1.2, 0.1], atol=0.01)
    np.testing.assert_allclose(amounts.mean(0), [1, 1, 1, 0], atol=0.02)
    assert len({tuple(number for number, _ in v.jitter) for v in views}) == 24
    sigmas = [v.sigma for v in views]
    assert (
        0.1 <= min(sigmas) < 0.12 and 1.98 < max(sigmas) <= 2 and abs(np.mean(sigmas) - 1.05) < 0.05
    )


def test_half_of_the_views_are_flipped(image):
    whole = (2.0, 2.0)  # no rectangle fits, which leaves all of the image
    kind = ViewKind((48, 24), whole, blur=0.0, sigma=(0.1, 0.2), grey=0.0)
    rng = np.random.default_rng(0)
    same = sum(bool((made(image, kind, rng) == image).all()) for _ in range(1000))
    flipped = sum(
        bool((made(image[:, ::-1].copy(), kind, rng) == image).all()) for _ in range(1000)
    )
    assert 430 < same < 570 and 430 < flipped < 570


def test_erasing_covers_the_asked_share_with_the_mean_colour():
    rng = np.random.default_rng(0)
    kind = ViewKind((64, 32), (0.2, 1.0), blur=0.0, sigma=(0.1, 1.0), grey=0.0, erase=1.0)
    shares = []
    for _ in range(800):
        drawn = one((64, 32), kind, rng)
        hidden = (
            views_on_cpu.make_view(np.zeros((64, 32, 3), np.uint8), kind, drawn)
            == views_on_cpu.FILL
        ).all(-1)
        _, _, height, width = drawn.erase or (0, 0, 0, 0)
        assert hidden.sum() == height * width
        shares.append(hidden.mean())
    assert 0.5 < max(shares) < 0.62 and 0.2 < np.mean(shares) < 0.4


def test_a_view_depends_on_its_generator_alone(image):
    kind = multi_crop((32, 16), (16, 8), 0, PUBLISHED)[1]
    first, again, other = (
        made(image, kind, np.random.default_rng([0, 1, 7, slot])) for slot in (3, 3, 4)
    )
    assert (first == again).all() and (first != other).any()


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


def test_views_of_a_crop_depend_on_its_own_generator_alone():
    kinds = multi_crop((64, 32), (32, 16), 2, PUBLISHED)
    shapes = [(48, 24), (90, 40), (30, 50)]
    together = draw_parameters(shapes, kinds, [np.random.default_rng(seed) for seed in (4, 5, 6)])
    alone = draw_parameters(shapes[1:2], kinds, [np.random.default_rng(5)])
    for name, value in vars(alone).items():
        np.testing.assert_array_equal(vars(together)[name][1], value[0], err_msg=name)


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
