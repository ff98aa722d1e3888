"""The demo world: rendered people, cameras and videos, with ground truth."""

from demo_world.benchmark import render_benchmark
from demo_world.portraits import render_portraits
from demo_world.sequences import render_sequences
from demo_world.settings import World, load_world
from demo_world.videos import render_videos

__all__ = [
    "World",
    "load_world",
    "render_benchmark",
    "render_portraits",
    "render_sequences",
    "render_videos",
]
