"""Which videos a share takes."""

from __future__ import annotations

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core.studies.kinds.scale import count_videos, order_videos


def made(cameras: list[int]) -> pd.DataFrame:
    names = [
        (f"{camera}/{i}.mp4", f"{camera}")
        for camera, count in enumerate(cameras)
        for i in range(count)
    ]
    return pd.DataFrame(names, columns=["video", "group"])


CAMERAS = st.lists(st.integers(1, 12), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(CAMERAS, st.integers(0, 100))
def test_every_video_once_and_every_beginning_has_each_cameras_share(
    cameras: list[int], seed: int
) -> None:
    videos = made(cameras)
    order = order_videos(videos, seed)
    assert sorted(order) == sorted(videos.video)
    group = videos.set_index("video").group
    for taken in range(1, len(order) + 1):
        found = group[order[:taken]].value_counts()
        for camera, count in enumerate(cameras):
            # below a place t lie tn ± 1 of a camera's n evenly spread videos, and so t is (taken ±
            # cameras) / all
            low, high = (
                ((taken + side * len(cameras)) / len(order)) * count + side for side in (-1, 1)
            )
            assert low <= found.get(f"{camera}", 0) <= high


@settings(max_examples=40, deadline=None)
@given(CAMERAS, st.integers(0, 100), st.floats(0.01, 1), st.floats(0.01, 1))
def test_of_one_seed_the_smaller_lies_in_the_larger(
    cameras: list[int], seed: int, a: float, b: float
) -> None:
    videos = made(cameras)
    small, large = (
        set(order_videos(videos, seed)[: count_videos(share, len(videos))])
        for share in sorted((a, b))
    )
    assert small <= large
    shuffled = videos.sample(frac=1, random_state=seed)
    assert order_videos(shuffled, seed) == order_videos(videos, seed), "whatever the table's order"


def test_a_hand_computed_case() -> None:
    """Of two cameras of equal size any half has half of each."""
    videos = made([4, 4])
    for seed in range(20):
        taken = order_videos(videos, seed)[:4]
        assert sorted(name[0] for name in taken) == ["0", "0", "1", "1"]
    assert len({tuple(order_videos(videos, seed)[:4]) for seed in range(20)}) > 10, (
        "another seed, other videos"
    )


def test_shares_are_rounded_to_whole_videos_one_at_least() -> None:
    assert [count_videos(share, 28) for share in (0.01, 0.1, 0.2, 0.5, 1.0)] == [1, 3, 6, 14, 28]
    assert count_videos(0.5, 5) == 3
