"""The footage as the MOT challenge has it: for each video a folder of images, and the truth.

    SEQUENCE/seqinfo.ini      name, frames a second, how many frames, their size
    SEQUENCE/img1/000001.jpg  the frames, from 1
    SEQUENCE/gt/gt.txt        frame, person, x, y, width, height, 1, class 1 (pedestrian), visible share

The people, walks and frames are those of the videos of the same world; only the encoding differs.
"""

from __future__ import annotations

from pathlib import Path

import cv2

from cion_core.progress import say
from cion_core.work import replaced
from demo_world.pool import spread
from demo_world.settings import World
from demo_world.videos import Job, film, jobs_of

QUALITY = 95  # of the JPEGs; the sensor's own compression is in the frames already
INFO = """[Sequence]
name={name}
imDir=img1
frameRate={fps:g}
seqLength={frames}
imWidth={width}
imHeight={height}
imExt=.jpg
"""


def render_sequences(world: World, folder: Path | str) -> list[Path]:
    """Render every video of the world as a sequence below `folder`.

    Returns:
        The sequences' folders.
    """
    jobs = jobs_of(world, Path(folder))
    say(f"rendering the demo world as {len(jobs)} sequences of the MOT challenge")
    return list(spread(render_sequence, jobs, "sequences", "sequence"))


def render_sequence(job: Job) -> Path:
    """Render one sequence; a folder of that name is there only once it is whole."""
    name = Path(job.video).with_suffix("").as_posix().replace("/", "-")
    lines: list[str] = []
    frames = 0
    with replaced(job.folder / name) as out:
        (out / "img1").mkdir(parents=True)
        (out / "gt").mkdir()
        for image, seen in film(job):
            frames += 1
            picture = out / "img1" / f"{frames:06d}.jpg"
            cv2.imwrite(str(picture), image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            lines += [_line(row) for row in seen]
        (out / "gt" / "gt.txt").write_text("".join(lines))
        size = {"width": job.world.frame.width, "height": job.world.frame.height}
        info = INFO.format(name=name, fps=job.world.frame.fps, frames=frames, **size)
        (out / "seqinfo.ini").write_text(info)
    return job.folder / name


def _line(row: dict) -> str:
    """A row of truth as MOT text, in which frames, people and pixels count from 1."""
    left, top = row["x1"] + 1, row["y1"] + 1
    width, height = row["x2"] - row["x1"], row["y2"] - row["y1"]
    box = ",".join(f"{value:g}" for value in (left, top, width, height))
    return f"{row['frame'] + 1},{row['person'] + 1},{box},1,1,{row['visible']:.3f}\n"
