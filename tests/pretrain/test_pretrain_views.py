"""Views: the published kinds, ranges by statistics, draws by their seed alone."""

import numpy as np
import pytest
from drawn_views import PUBLISHED, made, many, one

from cion_core.images import resize
from cion_core.pretrain import views_on_cpu
from cion_core.pretrain.views import ViewKind, draw_parameters, lup, multi_crop, weak


def test_the_kinds_of_views_are_the_published_ones():
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


def test_crop_boxes_lie_inside_and_fill_their_range():
    boxes = many((256, 128), ViewKind((64, 32), (0.05, 0.8), blur=0.0, sigma=(0.1, 1.0)), 3000).box[
        :, 0
    ]
    top, left, height, width = boxes.T
    assert (boxes[:, :2] >= 0).all() and (top + height <= 256).all() and (left + width <= 128).all()
    area, ratio = height * width / (256 * 128), width / height
    assert 0.04 < area.min() < 0.08 and 0.75 < area.max() <= 0.81
    assert 0.38 < ratio.min() < 0.42 and 0.58 < ratio.max() < 0.63


@pytest.mark.parametrize("shape", [(20, 60), (60, 4), (1, 1)])
def test_a_crop_of_any_shape_gives_a_view(shape):
    rng = np.random.default_rng(0)
    for kind in [
        *multi_crop((64, 32), (32, 16), 1, PUBLISHED),
        *lup((64, 32), (0.4, 0.6)),
        weak((64, 32)),
    ]:
        assert made(np.full((*shape, 3), 7, np.uint8), kind, rng).shape == (*kind.size, 3)


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


def test_views_of_a_crop_depend_on_its_own_generator_alone():
    kinds = multi_crop((64, 32), (32, 16), 2, PUBLISHED)
    shapes = [(48, 24), (90, 40), (30, 50)]
    together = draw_parameters(shapes, kinds, [np.random.default_rng(seed) for seed in (4, 5, 6)])
    alone = draw_parameters(shapes[1:2], kinds, [np.random.default_rng(5)])
    for name, value in vars(alone).items():
        np.testing.assert_array_equal(vars(together)[name][1], value[0], err_msg=name)
