"""The demo world: rendered people, cameras and videos, with ground truth."""

from cion_core.world.benchmark import render_benchmark
from cion_core.world.settings import World, load_world
from cion_core.world.videos import render_videos

__all__ = ["World", "load_world", "render_benchmark", "render_videos"]
