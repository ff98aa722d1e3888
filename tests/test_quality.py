"""How much a crop shows of its person, by its box, its sharpness and the detector's word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core import quality

FRAME = (400, 300)  # width and height, pixels
WHOLE = [(100 + 10 * k, 100, 140 + 10 * k, 200) for k in range(3)]  # away from the edges


def left_by_edge(boxes: list, video: list, tracklets: list) -> np.ndarray:
    """Share of the person that the edge of FRAME leaves."""
    array = np.array(boxes, float)
    at_edge = quality.edges(array, *FRAME)
    return quality.not_cut_off(array, *at_edge, np.array(video), np.array(tracklets))


def test_the_one_in_front_hides_the_other() -> None:
    boxes = np.array(
        [[0, 0, 40, 100], [10, 20, 50, 120], [20, 50, 30, 110], [0, 0, 40, 100]], float
    )
    pairs = np.array([[0, 1], [0, 2], [2, 1]])
    # 30 x 80 of the first are hidden by the second and 10 x 50 by the third, which the second
    # covers whole
    np.testing.assert_allclose(quality.not_hidden(boxes, pairs), [1 - 2900 / 4000, 1, 0, 1])
    np.testing.assert_allclose(
        quality.not_hidden(boxes, pairs[:, ::-1]), quality.not_hidden(boxes, pairs)
    )
    # Both stand equally near.
    np.testing.assert_allclose(quality.not_hidden(boxes, np.array([[0, 3]])), [1, 1, 1, 1])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_hidden_as_a_loop_counts_it(seed: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 30, (12, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, 30, (12, 2))], 1).astype(float)
    pairs = np.stack(np.triu_indices(12, 1), 1)[rng.random(66) < 0.3]
    expected = np.zeros(12)
    for i, j in pairs:
        a, b = (i, j) if boxes[i, 3] < boxes[j, 3] else (j, i)
        if boxes[a, 3] < boxes[b, 3]:
            grid = np.zeros((60, 60), int)
            for x1, y1, x2, y2 in boxes[[a, b]].astype(int):
                grid[y1:y2, x1:x2] += 1
            expected[a] += (grid == 2).sum() / np.prod(boxes[a, 2:] - boxes[a, :2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quality, "BLOCK", block)
        np.testing.assert_allclose(
            quality.not_hidden(boxes, pairs), 1 - np.minimum(expected, 1), atol=1e-12
        )


def test_cut_by_the_edge_by_its_usual_shape() -> None:
    boxes = [
        *WHOLE,
        (0, 100, 10, 200),  # a quarter of its width is left
        (380, 100, 400, 200),  # half, where the frame ends
        (100, 250, 140, 300),  # the legs are cut off
        (0, 100, 60, 200),  # at the edge, and wide
        (100, 100, 110, 200),  # narrow, but not at the edge: it is turned, not cut
    ]
    left = left_by_edge(boxes, [0] * len(boxes), [1] * len(boxes))
    np.testing.assert_allclose(left, [1, 1, 1, 0.25, 0.5, 0.5, 1, 1])


def test_a_tracklet_that_is_nowhere_whole_has_its_videos_shape() -> None:
    boxes = [*WHOLE, (0, 100, 20, 200), (0, 100, 20, 200)]
    left = left_by_edge(boxes, [0, 0, 0, 0, 1], [1, 1, 1, 2, 3])
    np.testing.assert_allclose(left[:4], [1, 1, 1, 0.5])
    assert np.isnan(left[4])  # of its video nothing is known


def test_small_blurred_and_doubtful() -> None:
    video = np.array([0, 0, 0, 1, 2])
    values = np.array([50.0, 100, 400, 7, 0])
    np.testing.assert_allclose(quality.of_usual(values, video), [0.5, 1, 1, 1, np.nan])
    confidence = np.array([0.2, np.nan, 1, 0.5, -1])
    np.testing.assert_allclose(
        quality.confidence_in_range(confidence, video), [0.2, np.nan, 1, 0.5, np.nan]
    )


def test_what_is_known_is_multiplied_and_what_is_not_counts_in_full() -> None:
    video, tracklets = np.zeros(3, int), np.zeros(3, int)
    assert quality.product(quality.shares_of(video, tracklets)) is None
    shares = quality.shares_of(
        video,
        tracklets,
        np.array(WHOLE, float),
        shown=np.array([1.0, 0.5, 0.0]),
        sharpness=np.array([np.nan, 8, 8.0]),
        confidence=np.array([0.5, 0.8, 1.0]),
    )
    assert list(shares) == ["hidden", "tiny", "blurred", "doubtful"]
    found = quality.product(shares)
    np.testing.assert_allclose(found, [0.5, 0.4, quality.LEAST])
    assert found.dtype == np.float32
