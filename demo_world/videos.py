"""The unlabelled footage: who walks through which video, rendered and encoded, and the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from cion_core import tables
from cion_core.errors import CionError
from cion_core.progress import say
from cion_core.work import atomic
from demo_world.camera import Sensor
from demo_world.people import person
from demo_world.place import Place
from demo_world.pool import spread
from demo_world.settings import World
from demo_world.walks import Walk, walk

CODEC = "mp4v"
EMPTY = 1.5  # seconds before the first person sets out, in which a background can be learnt
HIDDEN = 0.05  # who shows less than this is not in the truth


@dataclass(frozen=True)
class Job:
    """One video to render: its number, its file below `folder`, and the people who walk through."""

    world: World
    folder: Path
    number: int
    video: str
    people: tuple[int, ...]


def plan(world: World) -> list[list[int]]:
    """The people of each video; `appearances` says how often somebody is in 1, 2, ... videos.

    Videos are evenly filled.
    """
    rng, settings = world.rng("plan"), world.videos
    weights = np.array(settings.appearances[: settings.count])
    videos: list[list[int]] = [[] for _ in range(settings.count)]
    for who in range(settings.people):
        times = 1 + rng.choice(len(weights), p=weights / weights.sum())
        emptiest = sorted(range(len(videos)), key=lambda v: (len(videos[v]), rng.random()))
        for v in emptiest[:times]:
            videos[v].append(who)
    return videos


def render_videos(world: World, folder: Path) -> pd.DataFrame:
    """Render every video of the world below `folder`, one subfolder per camera.

    Returns the truth (tables.Truth).
    """
    v = world.videos
    say(
        f"rendering the demo world: {v.people} people, {v.count} videos of {v.seconds:g} s, "
        f"{v.cameras} cameras"
    )
    jobs = jobs_of(world, Path(folder))
    rows = [row for part in spread(render, jobs, "videos", "video") for row in part]
    if not rows:
        return tables.empty(tables.Truth)
    return tables.validate(tables.Truth, pd.DataFrame(rows), "the demo world's truth")


def jobs_of(world: World, folder: Path) -> list[Job]:
    """What is to be rendered: a job for each video."""
    jobs = []
    for number, people in enumerate(plan(world)):
        name = f"cam{number % world.videos.cameras + 1}/video_{number + 1:02d}.mp4"
        jobs.append(Job(world, folder, number, name, tuple(people)))
    return jobs


def render(job: Job) -> list[dict]:
    """Render one video to its file; returns its rows of truth."""
    frame = job.world.frame
    rows: list[dict] = []
    with atomic(job.folder / job.video) as path:
        code = cv2.VideoWriter_fourcc(*CODEC)
        writer = cv2.VideoWriter(str(path), code, frame.fps, (frame.width, frame.height))
        if not writer.isOpened():
            raise CionError(
                f"{path}: this OpenCV cannot write {CODEC} video; install opencv-python from PyPI"
            )
        for image, seen in film(job):
            writer.write(image)
            rows += seen
        writer.release()
    return rows


def film(job: Job) -> Iterator[tuple[np.ndarray, list[dict]]]:
    """Each frame of a video in turn (BGR uint8 [H, W, 3]), with its truth (tables.Truth)."""
    world, rng = job.world, job.world.rng("video", job.number)
    camera = job.number % world.videos.cameras
    place = Place(
        world.frame, world.look, Sensor.sample(world.look, world.rng("sensor", camera)), rng
    )
    who = list(job.people)
    walks = _schedule(world, place, who, rng)
    people = [person(world.rng("person", w)) for w in who]
    for frame in range(round(world.videos.seconds * world.frame.fps)):
        image, sightings = place.shoot(people, walks, frame, rng)
        rows = []
        for one in sightings:
            if one.visible > HIDDEN:
                box = dict(zip(("x1", "y1", "x2", "y2"), one.box, strict=True))
                about = {"person": who[one.who], "visible": one.visible}
                rows.append({"video": job.video, "frame": frame, **box, **about})
        yield image, rows


def _schedule(world: World, place: Place, who: list[int], rng: np.random.Generator) -> list[Walk]:
    """A walk for each of `who`, evenly spread over the video.

    Those who come back are appended to `who`.
    """
    fps, seconds = world.frame.fps, world.videos.seconds
    rng.shuffle(who)
    people = len(who)
    who += who[: round(world.videos.come_back * people)]  # whoever came first comes back last
    step = (seconds - EMPTY - 2) / max(len(who), 1)
    walks: list[Walk] = []
    for i in range(len(who)):
        start = round((EMPTY + step * (i + rng.uniform(0, 0.8))) * fps)
        walks.append(walk(place.view, place.scene.door, start, fps, rng))
    # In a short video somebody may not have left yet; nobody is in a picture twice.
    gone = [i for i in range(people, len(who)) if walks[i].start < walks[i - people].end + fps]
    for i in reversed(gone):
        del who[i], walks[i]
    return walks
