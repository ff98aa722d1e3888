"""Posts of a cluster and what they work with, for tests; workers import it by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from cion_core import crew
from cion_core.cluster.post import Post
from cion_core.cluster.shared_folder import shared_folder


@contextmanager
def equip(cores: int, function: Callable, setup: Callable | None) -> Iterator[crew.Equipment]:
    """A machine with one worker, which does `function` by what `setup` makes."""
    yield crew.Equipment(crew.Orders(function, setup, silence=60.0), processes=1)


@contextmanager
def begun(function: Callable, setup: Callable | None) -> Iterator[Post]:
    """A post of this machine, in this process, ready to work."""
    post = Post()
    with shared_folder() as folder:
        assert (
            post.begin("this machine", folder, partial(equip, function=function, setup=setup), 1)
            == 1
        )
        yield post
