"""The door to the demo world: people, cameras and videos that are rendered, with the truth known.

The world itself lies beside this package, as `demo_world`, and nothing else here knows more of it
than this.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cion_core.errors import CionError

if TYPE_CHECKING:
    from demo_world import World

FILE = "world.yaml"  # a folder that holds one describes a world
LAYOUT = "market1501"  # in which its benchmark is written


def is_world(folder: Path | str) -> bool:
    """Whether a folder describes a world, rather than holding footage or images."""
    return (Path(folder) / FILE).is_file()


def videos(source: Path, folder: Path) -> pd.DataFrame:
    """Render the videos of a world.

    Args:
        source: the folder with the world's description.
        folder: where they go.

    Returns:
        The truth (tables.Truth).

    Raises:
        CionError: the world is not valid, or has no videos; it names file and key.
    """
    from demo_world import render_videos  # only a demo needs the renderer

    return render_videos(_with_videos(source), folder)


def sequences(source: Path, folder: Path) -> list[Path]:
    """Render the videos of a world as sequences of the MOT challenge, with their truth.

    Args:
        source: the folder with the world's description.
        folder: where they go.

    Returns:
        The sequences' folders.

    Raises:
        CionError: the world is not valid, or has no videos; it names file and key.
    """
    from demo_world import render_sequences

    return render_sequences(_with_videos(source), folder)


def _with_videos(source: Path) -> World:
    from demo_world import load_world

    world = load_world(source / FILE)
    if world.videos is None:
        raise CionError(
            f"{source / FILE}: no section videos, so this world has a benchmark alone; demo has "
            "videos too"
        )
    return world


def benchmark(source: Path, folder: Path) -> None:
    """Render the labelled people of a world, in LAYOUT, anew.

    Args:
        source: the folder with the world's description.
        folder: where they go.

    Raises:
        CionError: the world is not valid; it names file and key.
    """
    from demo_world import load_world, render_benchmark

    render_benchmark(load_world(source / FILE), folder)


def people(count: int, views: int = 1, seed: int = 0) -> list[np.ndarray]:
    """Draw people to try a model on.

    Args:
        count: how many people.
        views: images of each.
        seed: of what they look like.

    Returns:
        RGB uint8 [H, W, 3] of many sizes, all views of one person in turn.
    """
    from demo_world import render_portraits

    return render_portraits(count, views, seed)
