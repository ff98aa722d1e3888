"""Hands jobs to the posts of a Ray cluster, and takes their answers, whatever machines are lost.

    jobs ──→ Fleet ──→ Post on machine 1 ──→ workers
               │  ──→ Post on machine 2 ──→ workers
               ←── outcomes, as they come

Where GPUs are asked for, there is a post for each. No more jobs are out than there are workers, and
jobs are taken from their iterator one by one: a million of them need no memory. Machines that come
later are used as well.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cion_core import crew
from cion_core.cluster.address import check_address, no_cluster
from cion_core.cluster.post import Equip, Post
from cion_core.cluster.shared_folder import SharedFolder, shared_folder
from cion_core.errors import CionError
from cion_core.progress import say

try:
    import ray
    from ray.exceptions import RayActorError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ModuleNotFoundError as error:
    raise CionError("runtime.engine: ray is not installed here: pip install 'cion[ray]'") from error

# Seconds between two looks for machines that have come.
LOOK_SECONDS = 2.0
# Seconds without any post, after which that is told.
PATIENCE_SECONDS = 30.0
# So often a post on a machine that lives may fail to begin before the work ends.
FALSE_STARTS = 3
# So many posts may be lost while they have a job before that job is given up.
LOSSES = 5


@dataclass
class Enlisted:
    """A post as the fleet sees it.

    Attributes:
        place: its machine's id, and its number there.
        machine: its machine's address.
        actor: Ray's handle.
        free: how many jobs more it may have; 0 until it has begun.
        out: what it has been asked and has not answered: {Ray's reference: a job, or None for
            `begin`}.
    """

    place: tuple[str, int]
    machine: str
    actor: Any
    free: int = 0
    out: dict[Any, Task | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A job and its number, by which its losses are counted."""

    number: int
    job: Any


def work(
    jobs: Iterable[Any],
    equip: Equip,
    *,
    gpus: bool = False,
    report: Callable[[int], None] | None = None,
) -> Iterator[crew.Outcome]:
    """Do `jobs` on all machines of the cluster; yield an Outcome for each, as they end.

    Jobs are begun in the order given. Jobs, results and `equip` are pickled; see
    `cion_core.crew.work`.

    Args:
        jobs: what to work on.
        equip: says what a machine works with, see `post.Post.begin`.
        gpus: whether the work gains by GPUs. Where the cluster has any, each gets a post, and
            nothing else is used, for other devices round otherwise. Where it has none, or not
            `gpus`, each machine is one post.
        report: is told of the reported amount of each job that has ended.

    Raises:
        CionError: no cluster; a machine without the project's folder; or as `crew.work`.
    """
    with connected(), shared_folder() as folder:
        fleet = Fleet(equip, folder, gpus and has_gpus())
        try:
            yield from fleet.work(iter(jobs), report or (lambda amount: None))
        finally:
            fleet.dismiss()


@contextmanager
def connected() -> Iterator[None]:
    """While inside, this process belongs to the cluster that RAY_ADDRESS names, or that runs here.

    Raises:
        CionError: there is none.
    """
    if ray.is_initialized():
        yield
        return
    check_address()
    try:
        ray.init(address="auto", logging_level="warning")
    except ConnectionError as error:
        raise no_cluster() from error
    try:
        yield
    finally:
        ray.shutdown()


def has_gpus() -> bool:
    """Whether any machine of the cluster has a GPU."""
    with connected():
        return any(machine["Resources"].get("GPU", 0) >= 1 for machine in _machines())


def _machines() -> list[dict]:
    """What Ray says of each machine that lives."""
    return [machine for machine in ray.nodes() if machine["Alive"]]


class Fleet:
    """The posts of a cluster."""

    def __init__(self, equip: Equip, folder: SharedFolder, on_gpus: bool) -> None:
        """No post has begun yet; `work` begins them.

        Args:
            equip: says what a machine works with.
            folder: the project's.
            on_gpus: a post for each GPU; else one for each machine.
        """
        self._equip, self._folder, self._on_gpus = equip, folder, on_gpus
        self._posts: dict[tuple[str, int], Enlisted] = {}
        self._again: deque[Task] = deque()  # what lost posts had
        self._losses: Counter[int] = Counter()  # by the number of a job
        self._false_starts: Counter[tuple[str, int]] = Counter()  # by the place of a post
        self._looked = float("-inf")
        self._ready_at, self._told = time.monotonic(), False

    def work(self, jobs: Iterator[Any], report: Callable[[int], None]) -> Iterator[crew.Outcome]:
        """As the function `work`."""
        tasks = (Task(number, job) for number, job in enumerate(jobs))
        all_out = False
        while True:
            self._enlist()
            all_out = self._hand_out(tasks, all_out)
            out = [task for post in self._posts.values() for task in post.out.values()]
            busy = any(task is not None for task in out)
            if all_out and not busy and not self._again:
                return
            for answer, amount in self._answers():
                report(amount)
                yield answer

    def _enlist(self) -> None:
        """Begin a post on each machine, or GPU, that has none."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        for machine in _machines():
            resources = machine["Resources"]
            cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
            posts = gpus if self._on_gpus else min(1, cores)
            for number in range(posts):
                place, name = (machine["NodeID"], number), machine["NodeManagerAddress"]
                if place not in self._posts:
                    self._posts[place] = self._begin(place, name, max(1, cores // posts))
        self._tell_if_nobody_is_there()

    def _begin(self, place: tuple[str, int], machine: str, cores: int) -> Enlisted:
        """A post with so many processors at a place; it is asked to begin, and not waited for."""
        actor = ray.remote(Post).options(
            num_cpus=cores,
            num_gpus=1 if self._on_gpus else 0,
            max_concurrency=cores + 1,
            scheduling_strategy=NodeAffinitySchedulingStrategy(place[0], soft=False),
        )
        post = Enlisted(place, machine, actor.remote())
        post.out[post.actor.begin.remote(machine, self._folder, self._equip, cores)] = None
        return post

    def _tell_if_nobody_is_there(self) -> None:
        """Say once that no post is ready, where that lasts.

        All machines are lost then, or at work for others.
        """
        if any(post.free or any(post.out.values()) for post in self._posts.values()):
            self._ready_at, self._told = time.monotonic(), False
        elif time.monotonic() - self._ready_at > PATIENCE_SECONDS and not self._told:
            self._told = True
            say(
                "ray: no machine of the cluster is free; waiting for one (`ray status` shows what "
                "there is)"
            )

    def _hand_out(self, tasks: Iterator[Task], all_out: bool) -> bool:
        """Give jobs to posts that are free; return whether `tasks` is at its end."""
        for post in self._posts.values():
            while post.free and not (all_out and not self._again):
                task = self._again.popleft() if self._again else next(tasks, None)
                if task is None:
                    all_out = True
                    continue
                post.out[post.actor.do.remote(task.job)] = task
                post.free -= 1
        return all_out

    def _answers(self) -> Iterator[tuple[crew.Outcome, int]]:
        """What came of jobs that have ended meanwhile, and the amounts that they reported."""
        asked = {reference: post for post in self._posts.values() for reference in post.out}
        if not asked:
            time.sleep(LOOK_SECONDS)
            return
        done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=0)
        if not done:
            done, _ = ray.wait(list(asked), num_returns=1, timeout=LOOK_SECONDS)
        for reference in done:
            post = asked[reference]
            if reference not in post.out:  # it was found to be lost by another of its answers
                continue
            try:
                answer = ray.get(reference)
            except RayActorError as error:
                yield from self._lost(post, error)
                continue
            except RayTaskError as error:
                # Such as a module that this machine has and that one has not.
                raise CionError(
                    f"runtime.engine: ray: machine {post.machine} of the cluster: "
                    f"{_last_line(error)}"
                ) from error
            if isinstance(answer, CionError):
                raise answer
            task = post.out.pop(reference)
            if task is None:
                post.free = answer
            else:
                post.free += 1
                yield answer

    def _lost(self, post: Enlisted, error: Exception) -> Iterator[tuple[crew.Outcome, int]]:
        """Do without a post: its jobs go to others, or are given up if lost too often."""
        del self._posts[post.place]
        ray.kill(post.actor)
        unfinished = [task for task in post.out.values() if task is not None]
        if None in post.out.values():
            self._false_starts[post.place] += 1
            if self._false_starts[post.place] == FALSE_STARTS:
                raise CionError(
                    f"runtime.engine: ray: machine {post.machine} of the cluster cannot begin: "
                    f"{_last_line(error)}"
                )
        else:
            say(
                f"ray: machine {post.machine} was lost; of its jobs {len(unfinished)} are done "
                "again elsewhere"
            )
        for task in unfinished:
            self._losses[task.number] += 1
            if self._losses[task.number] < LOSSES:
                self._again.append(task)
            else:
                failure = (
                    f"{LOSSES} machines were lost while they worked on it: {_last_line(error)}"
                )
                yield crew.Outcome(task.job, failure=failure), 0

    def dismiss(self) -> None:
        """End all posts, and their workers with them."""
        for post in self._posts.values():
            ray.kill(post.actor)
        self._posts.clear()


def _last_line(error: Exception) -> str:
    """Of the error's text, which Ray begins with long traces; its kind where it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
