"""Each operation against torchvision's, the ranges by statistics, and views that depend on their seed alone."""

import cv2
import numpy as np
import pytest
import torch

from cion_core import compat  # noqa: F401  before torchvision

# isort: split
from torchvision.transforms import functional as tv

from cion_core.images import resize
from cion_core.pretrain import batched, operations
from cion_core.pretrain.settings import Views
from cion_core.pretrain.views import Drawn, ViewRecipe, draw, lup, multi_crop, shown

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


@pytest.mark.parametrize(
    ("ours", "on_a_device", "reference", "values"),
    [
        (operations.brightness, batched.brightness, tv.adjust_brightness, (0.6, 1.0, 1.4)),
        (operations.contrast, batched.contrast, tv.adjust_contrast, (0.6, 1.0, 1.4)),
        (operations.saturation, batched.saturation, tv.adjust_saturation, (0.8, 1.2)),
        (operations.hue, batched.hue, tv.adjust_hue, (-0.1, 0.03, 0.1)),
    ],
)
def test_colours_as_torchvision(image, ours, on_a_device, reference, values):
    for value in values:
        expected = theirs(reference, image, value)
        assert np.abs(ours(image, value) - expected).max() <= 2
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        found = on_a_device(tensor, torch.tensor(value).view(1, 1, 1, 1))[0].permute(1, 2, 0).numpy()
        assert np.abs(found - expected).max() <= 0.2


def test_grey_blur_and_solarise_as_torchvision(image):
    assert np.abs(operations.grey(image) - theirs(tv.rgb_to_grayscale, image, 3)).max() <= 1
    assert np.abs(operations.solarise(image) - theirs(tv.solarize, image, 128 / 255)).max() <= 1
    for sigma in (0.2, 0.5, 2.0):
        size = 2 * int(np.ceil(3 * sigma)) + 1
        expected = theirs(tv.gaussian_blur, image, size, sigma)
        assert np.abs(operations.blur(image, sigma) - expected).max() <= 2
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        found = batched.blurred(tensor, torch.tensor([sigma]), 8)[0].permute(1, 2, 0).numpy()
        assert np.abs(found - expected).max() <= 0.2


def test_crop_boxes_lie_inside_and_fill_their_range():
    rng = np.random.default_rng(0)
    boxes = np.array([shown((256, 128), (0.05, 0.8), rng) for _ in range(3000)])
    top, left, height, width = boxes.T
    assert (boxes[:, :2] >= 0).all() and (top + height <= 256).all() and (left + width <= 128).all()
    area, ratio = height * width / (256 * 128), width / height
    assert 0.04 < area.min() < 0.08 and 0.75 < area.max() <= 0.81
    assert 0.38 < ratio.min() < 0.42 and 0.58 < ratio.max() < 0.63


def made(image, recipe, rng):
    return operations.view(image, recipe, draw(image.shape[:2], recipe, rng))


@pytest.mark.parametrize("shape", [(20, 60), (60, 4), (1, 1)])
def test_a_crop_of_any_shape_gives_a_view(shape):
    rng = np.random.default_rng(0)
    for recipe in [*multi_crop((64, 32), (32, 16), 1, PUBLISHED), *lup((64, 32))]:
        assert made(np.full((*shape, 3), 7, np.uint8), recipe, rng).shape == (*recipe.size, 3)


@pytest.mark.parametrize("seed", range(4))
def test_views_on_a_device_are_those_of_opencv(seed):
    """The same draws: alike but for rounding, of which OpenCV's form has one after each operation."""
    rng = np.random.default_rng(seed)
    crops = []
    for height, width in ((40, 20), (130, 64), (64, 32), (25, 60), (300, 150)):
        image = cv2.resize(rng.integers(0, 256, (8, 4, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
        crops.append(np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8))
    for recipe in [*multi_crop((64, 32), (32, 16), 1, PUBLISHED), *lup((64, 32))]:
        drawn = [draw(crop.shape[:2], recipe, rng) for crop in crops]
        found = batched.views(batched.padded(crops), recipe, batched.Plan.of(drawn)).permute(0, 2, 3, 1).numpy()
        for crop, one, view in zip(crops, drawn, found, strict=True):
            wrong = np.abs(view - operations.view(crop, recipe, one))
            # at 128, solarising turns a rounding of 1 into a difference of 1 to 255's mirror, so not the largest counts
            assert wrong.mean() < 0.8 and np.quantile(wrong, 0.99) <= 4, one


def test_a_resize_on_a_device_is_that_of_opencv():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (90, 47, 3), np.uint8)
    for box in ((0, 0, 90, 47), (13, 5, 70, 33), (30, 10, 20, 10), (10, 3, 60, 12)):  # the last shrinks one side alone
        for flip in (False, True):
            top, left, height, width = box
            expected = resize(image[top : top + height, left : left + width], (32, 16))
            found = batched.resized(batched.padded([image]), torch.tensor([box]), torch.tensor([flip]), (32, 16))
            found = found[0].permute(1, 2, 0).numpy()
            assert np.abs(found - (expected[:, ::-1] if flip else expected)).max() <= 1.01


def test_recipes_are_the_published_ones():
    first, second, *local = multi_crop((256, 128), (128, 64), 8, PUBLISHED)
    assert [(r.blur, r.solarise) for r in (first, second)] == [(1.0, 0.0), (0.1, 0.2)]
    assert len(local) == 8 and {(r.size, r.scale, r.blur) for r in local} == {((128, 64), (0.05, 0.8), 0.5)}
    assert {(r.jitter, r.grey, r.erase) for r in (first, second, *local)} == {(0.8, 0.2, 0.0)}
    assert first.sigma == (0.1, 2.0) and multi_crop((64, 32), (32, 16), 0, PUBLISHED)[0].sigma == (0.025, 0.5)
    first, second = lup((256, 128))
    assert first == second == ViewRecipe((256, 128), (0.2, 1.0), 0.5, (0.1, 2.0), jitter=0.0, grey=0.2, erase=0.5)


@pytest.mark.parametrize("operation", ["jitter", "grey", "blur", "solarise", "erase"])
def test_operations_happen_as_often_as_asked(operation):
    none = {"jitter": 0.0, "grey": 0.0, "blur": 0.0, "solarise": 0.0, "erase": 0.0}
    recipe = ViewRecipe((16, 8), (0.2, 1.0), sigma=(0.1, 1.0), **none | {operation: 0.3})
    rng = np.random.default_rng(0)
    views = [draw((48, 24), recipe, rng) for _ in range(2000)]
    counts = {
        "jitter": sum(bool(v.jitter) for v in views), "grey": sum(v.grey for v in views),
        "blur": sum(v.sigma > 0 for v in views), "solarise": sum(v.solarise for v in views),
        "erase": sum(v.erase is not None for v in views),
    }  # fmt: skip
    assert abs(counts.pop(operation) / 2000 - 0.3) < 0.04 and set(counts.values()) == {0}


def test_jitter_amounts_and_orders_fill_their_ranges():
    rng = np.random.default_rng(0)
    recipe = ViewRecipe((16, 8), (0.2, 1.0), blur=1.0, sigma=(0.1, 2.0), jitter=1.0)
    views = [draw((48, 24), recipe, rng) for _ in range(2000)]
    amounts = np.array([[amount for _, amount in sorted(v.jitter)] for v in views])
    np.testing.assert_allclose(amounts.min(0), [0.6, 0.6, 0.8, -0.1], atol=0.01)
    np.testing.assert_allclose(amounts.max(0), [1.4, 1.4, 1.2, 0.1], atol=0.01)
    np.testing.assert_allclose(amounts.mean(0), [1, 1, 1, 0], atol=0.02)
    assert len({tuple(number for number, _ in v.jitter) for v in views}) == 24
    sigmas = [v.sigma for v in views]
    assert 0.1 <= min(sigmas) < 0.12 and 1.98 < max(sigmas) <= 2 and abs(np.mean(sigmas) - 1.05) < 0.05


def test_half_of_the_views_are_flipped(image):
    whole = (2.0, 2.0)  # no rectangle fits, which leaves all of the image
    recipe = ViewRecipe((48, 24), whole, blur=0.0, sigma=(0.1, 0.2), grey=0.0)
    rng = np.random.default_rng(0)
    same = sum(bool((made(image, recipe, rng) == image).all()) for _ in range(1000))
    flipped = sum(bool((made(image[:, ::-1].copy(), recipe, rng) == image).all()) for _ in range(1000))
    assert 430 < same < 570 and 430 < flipped < 570


def test_erasing_covers_the_asked_share_with_the_mean_colour():
    rng = np.random.default_rng(0)
    recipe = ViewRecipe((64, 32), (0.2, 1.0), blur=0.0, sigma=(0.1, 1.0), grey=0.0, erase=1.0)
    shares = []
    for _ in range(800):
        drawn = draw((64, 32), recipe, rng)
        hidden = (operations.view(np.zeros((64, 32, 3), np.uint8), recipe, drawn) == operations.FILL).all(-1)
        _, _, height, width = drawn.erase or (0, 0, 0, 0)
        assert hidden.sum() == height * width
        shares.append(hidden.mean())
    assert 0.5 < max(shares) < 0.62 and 0.2 < np.mean(shares) < 0.4


def test_a_view_depends_on_its_generator_alone(image):
    recipe = multi_crop((32, 16), (16, 8), 0, PUBLISHED)[1]
    first, again, other = (made(image, recipe, np.random.default_rng([0, 1, 7, slot])) for slot in (3, 3, 4))
    assert (first == again).all() and (first != other).any()


def test_how_far_resizing_differs_from_torchvision():
    """Enlarged as there; shrunk, by means over areas and not by a filter of twice the width, so by a few levels."""
    rng = np.random.default_rng(0)
    for shape, size, mean, most in (
        ((120, 60), (256, 128), 0.5, 1.0), ((256, 128), (128, 64), 2.0, 7.0), ((200, 90), (128, 64), 2.0, 7.0),
    ):  # fmt: skip
        image = cv2.resize(rng.integers(0, 256, (16, 8, 3), np.uint8), shape[::-1], interpolation=cv2.INTER_CUBIC)
        image = np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
        difference = np.abs(resize(image, size) - theirs(tv.resize, image, list(size)))
        assert difference.mean() < mean and np.quantile(difference, 0.99) < most


def test_flip_grey_and_solarise_on_a_device_as_torchvision(image):
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    same = torch.tensor([[0, 0, *image.shape[:2]]])
    flipped = batched.resized(tensor, same, torch.tensor([True]), image.shape[:2])
    assert torch.equal(flipped, tv.hflip(tensor).float())
    grey = batched.luma(tensor.float()).expand(-1, 3, -1, -1) - tv.rgb_to_grayscale(tensor.float(), 3)
    assert grey.abs().max() < 0.1  # torchvision rounds the weights to four places
    recipe = ViewRecipe(image.shape[:2], (1.0, 1.0), blur=0.0, sigma=(0.1, 0.2))
    plan = batched.Plan.of([Drawn((0, 0, *image.shape[:2]), False, (), False, 0.0, True, None)])
    assert torch.equal(batched.views(tensor, recipe, plan), tv.solarize(tensor, 128).float())
