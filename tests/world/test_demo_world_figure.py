from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from demo_world.figure import BODY, GROUND, PHASES, SIZE, YAWS, draw
from demo_world.people import PALETTE, person

FRONT, RIGHT, BACK = 0, YAWS // 4, YAWS // 2
GREEN, PINK = (10, 200, 10), (250, 20, 160)
PLAIN = replace(
    person(np.random.default_rng(0)),
    height=1.7,
    build=1.0,
    skin=(200, 160, 130),
    hair="short",
    hair_colour=(30, 26, 24),
    hat="none",
    top="plain",
    top_colours=(GREEN, PINK),
    second_sleeves=False,
    long_sleeves=True,
    bottom="trousers",
    bottom_colour=(40, 40, 90),
    side_stripe=False,
    shoes=(30, 30, 30),
    bag="none",
    bag_colour=PINK,
)


def _count(person, yaw, colour, phase=0):
    """Pixels of a person that have the hue of `colour`, whatever their shade."""
    rgba = draw(person, yaw, phase).astype(float)
    rgb = rgba[..., :3] / np.maximum(rgba[..., :3].max(axis=2, keepdims=True), 1)
    near = np.abs(rgb - np.array(colour) / max(colour)).max(axis=2) < 0.15
    return int((near & (rgba[..., 3] > 250)).sum())


def _silhouette(person, yaw, phase):
    return draw(person, yaw, phase)[..., 3] > 128


def test_every_view_stands_on_the_ground_and_fits_the_sprite():
    for seed in range(6):
        one = person(np.random.default_rng(seed))
        for yaw in range(0, YAWS, 3):
            shape = _silhouette(one, yaw, seed)
            rows = np.flatnonzero(shape.any(axis=1))
            assert draw(one, yaw, seed).shape == (*SIZE, 4)
            assert abs(rows[-1] + 1 - GROUND) <= 4
            assert BODY * 0.93 < rows[-1] + 1 - rows[0] < BODY * 1.05
            assert not shape[:, [0, -1]].any() and not shape[0].any()


def test_a_chest_logo_is_not_seen_from_behind():
    logo = replace(PLAIN, top="logo")
    assert _count(logo, FRONT, PINK) > 100
    assert _count(logo, BACK, PINK) == 0


def test_a_backpack_is_seen_whole_from_behind_only():
    pack = replace(PLAIN, bag="backpack")
    straps, behind, side = (_count(pack, yaw, PINK) for yaw in (FRONT, BACK, RIGHT))
    assert behind > 3 * straps > 0
    assert side > straps


def test_the_face_is_in_front_and_the_hair_behind():
    assert _count(replace(PLAIN, skin=PINK), FRONT, PINK) > 1.5 * _count(
        replace(PLAIN, skin=PINK), BACK, PINK
    )
    assert _count(replace(PLAIN, hair_colour=PINK), BACK, PINK) > 2 * _count(
        replace(PLAIN, hair_colour=PINK), FRONT, PINK
    )


def test_a_handbag_hangs_on_one_side():
    bag = replace(PLAIN, bag="handbag")
    right, left = _count(bag, RIGHT, PINK), _count(bag, 3 * YAWS // 4, PINK)
    assert right > 1.5 * left


@pytest.mark.parametrize("part", ["hoops", "pinstripes", "check", "two_tone", "band"])
def test_patterns_go_round_the_body(part):
    shown = [_count(replace(PLAIN, top=part), yaw, PINK) for yaw in (FRONT, RIGHT, BACK)]
    assert min(shown) > 60


def test_legs_and_arms_swing():
    shapes = [_silhouette(PLAIN, RIGHT, phase) for phase in range(PHASES)]
    widths = [np.ptp(np.flatnonzero(shape.any(axis=0))) for shape in shapes]
    assert max(widths) > 1.4 * min(widths)
    assert all((a != b).sum() > 50 for a, b in pairwise(shapes))


def test_drawing_is_a_pure_function():
    assert (draw(PLAIN, 3, 2) == draw(PLAIN, 3, 2)).all()


def test_people_share_the_palette():
    people = [person(np.random.default_rng(i)) for i in range(60)]
    palette = np.array(list(PALETTE), float)
    shirts = np.array([one.top_colours[0] for one in people], float)
    nearest = np.abs(shirts[:, None] - palette).sum(axis=2).argmin(axis=1)
    assert len(set(nearest)) < len(PALETTE) + 1 < len(people)
    assert len({tuple(vars(one).items()) for one in people}) == len(people)
