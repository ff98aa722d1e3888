import numpy as np
import pytest

from demo_world.camera import FAR, NEAR, View
from demo_world.figure import YAWS
from demo_world.settings import Frame
from demo_world.walks import Walk, walk

FRAME = Frame(width=480, height=320, fps=10)


def _view(seed=0):
    return View.sample(FRAME, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(30))
def test_walks_begin_and_end_out_of_sight_at_walking_pace(seed):
    view, door = _view(seed), (0.5, FAR + 0.9)
    one = walk(view, door, 20, 10, np.random.default_rng(seed))
    for x, z in (one.points[0], one.points[-1]):
        at_door = np.hypot(x - door[0], z - door[1]) < 0.3
        assert at_door or abs(x) > view.side(z) + 0.4
    steps = np.hypot(*np.diff(one.points, axis=0).T)
    assert steps.min() > 0.09 and steps.max() < 0.16
    assert (one.points[:, 1] > NEAR - 0.5).all()
    assert one.start == 20 and one.end == 20 + len(one.points)
    np.testing.assert_allclose(np.hypot(*one.headings.T), 1)


@pytest.mark.parametrize(
    ("heading", "yaw"),
    [((0, -1), 0), ((1, 0), YAWS // 4), ((0, 1), YAWS // 2), ((-1, 0), 3 * YAWS // 4)],
)
def test_yaw_of_someone_straight_ahead(heading, yaw):
    one = Walk(5, np.array([[0.0, 8.0]]), np.array([heading], float), np.array([0.0]))
    assert one.pose(5, 1.7) == (0.0, 8.0, yaw, 0)


def test_people_are_of_the_promised_size():
    for seed in range(20):
        view = _view(seed)
        assert 60 < 1.72 * view.scale(FAR) < 1.72 * view.scale(NEAR) < 185
        assert view.pixel(0, NEAR)[1] < FRAME.height
        foot, head = view.pixel(0, 8.0), view.pixel(0, 8.0, 1.7)
        assert foot[1] - head[1] == pytest.approx(1.7 * view.scale(8.0))
