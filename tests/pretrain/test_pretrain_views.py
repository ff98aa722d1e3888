"""Each operation against torchvision's, the ranges by statistics, and views that depend on their seed alone."""

import numpy as np
import pytest
import torch

from cion_core import compat  # noqa: F401  before torchvision

# isort: split
from torchvision.transforms import functional as tv

from cion_core.params import Views
from cion_core.pretrain import views
from cion_core.pretrain.views import Recipe, crop_box, lup, multi_crop, view

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
    ("ours", "reference", "values"),
    [
        (views.brightness, tv.adjust_brightness, (0.6, 1.0, 1.4)),
        (views.contrast, tv.adjust_contrast, (0.6, 1.0, 1.4)),
        (views.saturation, tv.adjust_saturation, (0.8, 1.2)),
        (views.hue, tv.adjust_hue, (-0.1, 0.03, 0.1)),
    ],
)
def test_colours_as_torchvision(image, ours, reference, values):
    for value in values:
        assert np.abs(ours(image, value) - theirs(reference, image, value)).max() <= 2


def test_grey_blur_and_solarise_as_torchvision(image):
    assert np.abs(views.grey(image) - theirs(tv.rgb_to_grayscale, image, 3)).max() <= 1
    assert np.abs(views.solarise(image) - theirs(tv.solarize, image, 128 / 255)).max() <= 1
    for sigma in (0.2, 0.5, 2.0):
        size = 2 * int(np.ceil(3 * sigma)) + 1
        assert np.abs(views.blur(image, sigma) - theirs(tv.gaussian_blur, image, size, sigma)).max() <= 2


def test_crop_boxes_lie_inside_and_fill_their_range():
    rng = np.random.default_rng(0)
    boxes = np.array([crop_box((256, 128), (0.05, 0.8), (0.4, 0.6), rng) for _ in range(3000)])
    top, left, height, width = boxes.T
    assert (boxes[:, :2] >= 0).all() and (top + height <= 256).all() and (left + width <= 128).all()
    area, ratio = height * width / (256 * 128), width / height
    assert 0.04 < area.min() < 0.08 and 0.75 < area.max() <= 0.81
    assert 0.38 < ratio.min() < 0.42 and 0.58 < ratio.max() < 0.63


@pytest.mark.parametrize("shape", [(20, 60), (60, 4), (1, 1)])
def test_a_crop_of_any_shape_gives_a_view(shape):
    rng = np.random.default_rng(0)
    for recipe in [*multi_crop((64, 32), (32, 16), 1, PUBLISHED), *lup((64, 32))]:
        assert view(np.full((*shape, 3), 7, np.uint8), recipe, rng).shape == (*recipe.size, 3)


def test_recipes_are_the_published_ones():
    first, second, *local = multi_crop((256, 128), (128, 64), 8, PUBLISHED)
    assert [(r.blur, r.solarise) for r in (first, second)] == [(1.0, 0.0), (0.1, 0.2)]
    assert len(local) == 8 and {(r.size, r.scale, r.blur) for r in local} == {((128, 64), (0.05, 0.8), 0.5)}
    assert {(r.jitter, r.grey, r.erase) for r in (first, second, *local)} == {(0.8, 0.2, 0.0)}
    assert first.sigma == (0.1, 2.0) and multi_crop((64, 32), (32, 16), 0, PUBLISHED)[0].sigma == (0.025, 0.5)
    first, second = lup((256, 128))
    assert first == second == Recipe((256, 128), (0.2, 1.0), 0.5, (0.1, 2.0), jitter=0.0, grey=0.2, erase=0.5)


@pytest.mark.parametrize(
    ("operation", "probability"),
    [("jitter", 0.8), ("grey", 0.2), ("blur", 0.5), ("erase", 0.5)],
)
def test_operations_happen_as_often_as_asked(image, monkeypatch, operation, probability):
    calls = []
    name = {"jitter": "colour_jitter"}.get(operation, operation)
    monkeypatch.setattr(views, name, lambda image, *_: calls.append(1) or image)
    none = {"jitter": 0.0, "grey": 0.0, "blur": 0.0, "erase": 0.0}
    recipe = Recipe((16, 8), (0.2, 1.0), sigma=(0.1, 1.0), **none | {operation: probability})
    rng = np.random.default_rng(0)
    for _ in range(1000):
        view(image, recipe, rng)
    assert abs(len(calls) / 1000 - probability) < 0.05


def test_half_of_the_views_are_flipped(image):
    whole = (2.0, 2.0)  # no rectangle fits, which leaves all of the image
    recipe = Recipe((48, 24), whole, blur=0.0, sigma=(0.1, 0.2), grey=0.0)
    rng = np.random.default_rng(0)
    same = sum(bool((view(image, recipe, rng) == image).all()) for _ in range(1000))
    flipped = sum(bool((view(image[:, ::-1].copy(), recipe, rng) == image).all()) for _ in range(1000))
    assert 430 < same < 570 and 430 < flipped < 570


def test_erasing_covers_the_asked_share_with_the_mean_colour():
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(800):
        hidden = (views.erase(np.zeros((64, 32, 3), np.uint8), rng) == views.FILL).all(-1)
        shares.append(hidden.mean())
    assert 0.5 < max(shares) < 0.62 and 0.2 < np.mean(shares) < 0.4


def test_a_view_depends_on_its_generator_alone(image):
    recipe = multi_crop((32, 16), (16, 8), 0, PUBLISHED)[1]
    first, again, other = (view(image, recipe, np.random.default_rng([0, 1, 7, slot])) for slot in (3, 3, 4))
    assert (first == again).all() and (first != other).any()
