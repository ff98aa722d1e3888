"""The labelled benchmark: other people in other cameras, in Market-1501's layout and names."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cion_core.progress import say
from demo_world.camera import Sensor
from demo_world.people import person
from demo_world.place import Place
from demo_world.pool import spread
from demo_world.settings import World
from demo_world.walks import Walk, walk

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
JUNK, DISTRACTOR = -1, 0  # Market-1501's labels for a bad box and for a person in no query
SHOWN = 0.45  # at least this much of a person is unhidden, before the box is cut
LOOSE = 0.25  # of its width or height that a good box's side may be off; a bad box is off by more
SEQUENCE = 12  # visits before a camera is moved
SLOT = (
    150  # frames; visits to a camera follow each other in such slots, which keeps file names apart
)


@dataclass(frozen=True)
class Visit:
    """One person walking through a camera.

    `label` is the number in the file names; `who` names the looks.
    """

    slot: int
    label: int
    who: tuple[str, int]


@dataclass(frozen=True)
class Job:
    """One sequence: visits to a camera while it stands in one place."""

    world: World
    folder: Path
    camera: int
    sequence: int
    visits: tuple[Visit, ...]


def render_benchmark(world: World, folder: Path) -> None:
    """Write the three folders of a Market-1501 benchmark below `folder`, anew.

    People 1.. are for training, the rest for tests. Every test person has one query in each camera,
    and further images of each camera in the gallery.
    """
    b = world.benchmark
    say(
        f"rendering the benchmark: {b.train_people} + {b.test_people} people in {b.cameras} cameras"
    )
    for name in (TRAIN, QUERY, GALLERY):
        shutil.rmtree(Path(folder) / name, ignore_errors=True)
        (Path(folder) / name).mkdir(parents=True)
    jobs = []
    for camera in range(1, b.cameras + 1):
        visits = list(_visits(world, camera))
        for sequence, i in enumerate(range(0, len(visits), SEQUENCE), 1):
            jobs.append(Job(world, Path(folder), camera, sequence, tuple(visits[i : i + SEQUENCE])))
    for _ in spread(render, jobs, "benchmark", "sequence"):
        pass


def _visits(world: World, camera: int) -> Iterator[Visit]:
    """Who walks through a camera: everyone with a label, and its share of junk and distractors."""
    b = world.benchmark
    people = b.train_people + b.test_people
    # In another order at each camera, or the same people would always share a sequence.
    for label in (world.rng("order", camera).permutation(people) + 1).tolist():
        yield Visit(label, label, ("labelled", label))
    for i in range(camera - 1, b.junk, b.cameras):
        yield Visit(people + 1 + i, JUNK, ("labelled", b.train_people + 1 + i % b.test_people))
    for i in range(camera - 1, b.distractors, b.cameras):
        yield Visit(people + 1 + b.junk + i, DISTRACTOR, ("stranger", i))


def render(job: Job) -> None:
    """Render the visits of one sequence to image files."""
    world, camera = job.world, job.camera
    sensor = Sensor.sample(world.look, world.rng("benchmark sensor", camera))
    look = world.look.model_copy(update=world.benchmark.light.model_dump())
    place = Place(world.frame, look, sensor, world.rng("benchmark place", camera, job.sequence))
    for visit in job.visits:
        rng = world.rng("visit", camera, visit.slot)
        count = (
            int(rng.integers(world.benchmark.images[0], world.benchmark.images[1] + 1))
            if visit.label > 0
            else 1
        )
        for i, (frame, image) in enumerate(_images(world, place, visit, count, rng)):
            test = GALLERY if i or visit.label <= 0 else QUERY
            name = TRAIN if 0 < visit.label <= world.benchmark.train_people else test
            label = f"{visit.label:04d}" if visit.label >= 0 else "-1"
            path = job.folder / name / f"{label}_c{camera}s{job.sequence}_{frame:06d}_01.jpg"
            _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])
            path.write_bytes(packed.tobytes())


def _images(
    world: World, place: Place, visit: Visit, count: int, rng: np.random.Generator
) -> Iterator[tuple[int, np.ndarray]]:
    """`count` images of one visit, and their frame numbers.

    Images are uint8 BGR crops at the size they were seen.
    """
    while count:  # a walk may be too short or too hidden; then there is another
        own, people, walks = _meeting(world, place, visit, rng)
        inside = np.abs(own.points[:, 0]) < [place.view.side(z) - 0.15 for z in own.points[:, 1]]
        for frame in rng.permutation(own.start + np.flatnonzero(inside)[1::3]):
            image, seen = place.shoot(people, walks, int(frame), rng)
            box = next((one.box for one in seen if one.who == 0 and one.visible >= SHOWN), None)
            if box is not None:
                yield int(frame), cut_loosely(image, box, visit.label == JUNK, rng)
                count -= 1
            if not count:
                return


def _meeting(
    world: World, place: Place, visit: Visit, rng: np.random.Generator
) -> tuple[Walk, list, list[Walk]]:
    """The visitor's walk, and who is there at the time.

    It is the visitor, and at times one who walks by.
    """
    fps, door = world.frame.fps, place.scene.door
    own = walk(place.view, door, visit.slot * SLOT, fps, rng)
    people, walks = [person(world.rng(*visit.who))], [own]
    if rng.random() < world.benchmark.company:
        people.append(person(rng))
        walks.append(walk(place.view, door, own.start + int(rng.uniform(-2, 2) * fps), fps, rng))
    return own, people, walks


def cut_loosely(
    image: np.ndarray, box: tuple[float, ...], bad: bool, rng: np.random.Generator
) -> np.ndarray:
    """Cut a box out of a frame as a detector would have it: loose, or far off."""
    x1, y1, x2, y2 = box
    w, h = x2 - x1, y2 - y1
    off = rng.normal([-0.02, -0.01, 0.02, 0.01], [0.12, 0.08, 0.12, 0.08]).clip(-LOOSE, LOOSE) * [
        w,
        h,
        w,
        h,
    ]
    if bad:
        off += np.tile(rng.choice((-1, 1), 2) * rng.uniform(0.4, 0.6, 2) * [w, h], 2)
    x1, y1, x2, y2 = np.round(np.array(box) + off).astype(int)
    rows, columns = image.shape[:2]
    x1, y1 = min(max(x1, 0), columns - 12), min(max(y1, 0), rows - 24)
    return image[y1 : min(max(y2, y1 + 24), rows), x1 : min(max(x2, x1 + 12), columns)]
