"""A step of the demo's training, of this tree and of an older revision.

python bench/step.py REVISION

Both train the demo's CION (params.yaml of their own, on the same made-up crops), each in a process
of its own by its own `cion pretrain`. They take turns of a few steps; whoever waits sleeps. Printed
are medians of a step, in seconds and in seconds of processors, and their ratios. Other work on the
machine disturbs both alike, and seconds of processors least; more turns help (`--turns`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from cion_core import tables  # noqa: E402
from cion_core.crops import CropWriter  # noqa: E402

WARM = 2  # turns that are not counted
# What would disturb a step, or end the training: set where a revision has the key.
QUIET = {
    "pretrain": {"steps": 1_000_000, "held_out": 0.0},
    "runtime": {"device": "cpu", "checkpoint_every": 1_000_000, "watch_every": 1_000_000},
}
# What a child runs: `cion pretrain`, held up behind every so many steps until it is told to go on.
CHILD = """
import os, sys, time
from cion_core.cli import app  # which sets how torch's threads wait, before torch is there
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

steps, answers = int(sys.argv[1]), int(sys.argv[2])
done = 0

def held_up(*_):
    global done, begin
    done += 1
    if done % steps == 1 % steps:
        if done > 1:
            seconds, spent = time.perf_counter() - begin[0], time.process_time() - begin[1]
            os.write(answers, f"{seconds / steps} {spent / steps} {torch.get_num_threads()}\\n".encode())
        sys.stdin.readline() or os._exit(0)
        begin = time.perf_counter(), time.process_time()

register_optimizer_step_post_hook(held_up)
sys.argv = ["cion", "pretrain", "cion", "resnet10_ibn"]
app()
"""


class Trainer:
    """A training in a process of its own, which works only while it is asked for a turn.

    Args:
        tree: the folder of the revision that trains.
        folder: a new one to train in, with `data` of `made_up`.
        steps: of a turn.
        environment: beside what this process has.
        runtime: settings of `runtime` in params.yaml.
    """

    def __init__(
        self,
        tree: Path,
        folder: Path,
        steps: int,
        environment: dict[str, str] | None = None,
        **runtime: object,
    ) -> None:
        made_up(folder / "data")
        yaml = YAML()
        values = yaml.load(tree / "params.yaml")
        for section, quiet in QUIET.items():
            values[section].update(
                {key: value for key, value in quiet.items() if key in values[section]}
            )
        values["runtime"].update(runtime)
        yaml.dump(values, folder / "params.yaml")
        reading, writing = os.pipe()
        self._log = open(folder / "log.txt", "w+")  # noqa: SIM115  closed by `end`
        self._answers = os.fdopen(reading)
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(steps), str(writing)],
            cwd=folder,
            pass_fds=[writing],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ
            | {"PYTHONPATH": str(tree), "MLFLOW_DISABLE_TELEMETRY": "true"}
            | (environment or {}),
        )
        os.close(writing)

    def turn(self) -> tuple[float, float, int]:
        """Some steps: seconds of one, seconds of processors of one, and with how many threads."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._answers.readline().split()
        if not answer:
            self._log.seek(0)
            sys.exit(f"the training has ended:\n{self._log.read()[-2000:]}")
        return float(answer[0]), float(answer[1]), int(answer[2])

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._answers.close()
        self._log.close()


@contextmanager
def trainers(*made: Trainer) -> Iterator[Sequence[Trainer]]:
    """While inside they train; each has had its first turns, which pay for caches."""
    try:
        for trainer in made:
            for _ in range(WARM):
                trainer.turn()
        yield made
    finally:
        for trainer in made:
            trainer.end()


def made_up(root: Path, tracklets: int = 60, each: int = 10) -> None:
    """What pre-training reads, in `root`: smooth crops of 96x48, two tracklets an identity."""
    rows, rng = [], np.random.default_rng(0)
    with CropWriter(root / "tracklets/crops/made-up.tar") as writer:
        for number in range(tracklets * each):
            image = np.kron(
                rng.integers(0, 256, (12, 6, 3), np.uint8), np.ones((8, 8, 1), np.uint8)
            )
            offset, size = writer.add(str(number), image)
            place = {
                "x1": 0,
                "y1": 0,
                "x2": 48,
                "y2": 96,
                "shard": "made-up.tar",
                "offset": offset,
                "size": size,
            }
            seen = {
                "video": "made-up.mp4",
                "frame": number,
                "time_s": number / 10,
                "tracklet": number // each,
            }
            rows.append({"crop": number, **seen, **place, "confidence": 1.0})
    crops = tables.write(tables.Crops, pd.DataFrame(rows), root / "tracklets/crops.parquet")
    for level, identity in (("video", crops.tracklet), ("cross_video", crops.tracklet // 2)):
        of_level = crops[["crop"]].assign(identity=identity)
        tables.write(tables.Identities, of_level, root / "denoise" / level / "identities.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revision", help="of git, such as HEAD~20")
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--steps", type=int, default=2, help="of a turn")
    o = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "older").mkdir()
        archive = subprocess.run(
            ["git", "archive", o.revision], cwd=ROOT, check=True, capture_output=True
        ).stdout
        subprocess.run(["tar", "-x", "-C", folder / "older"], input=archive, check=True)
        older = Trainer(folder / "older", folder / "of-older", o.steps)
        now = Trainer(ROOT, folder / "of-this", o.steps)
        with trainers(older, now):
            taken = np.array([[older.turn(), now.turn()] for _ in range(o.turns)])
    print(
        f"{time.strftime('%Y-%m-%d')}, {taken[0, 0, 2]:g} threads, medians of {o.turns} turns of "
        f"{o.steps} steps"
    )
    print(f"{'':28}{o.revision:>12}{'this tree':>12}{'ratio':>8}")
    for column, name in enumerate(("seconds", "seconds of processors")):
        before, after = (median(taken[:, form, column]) for form in (0, 1))
        print(f"{name:28}{before:>12.3f}{after:>12.3f}{after / before:>8.2f}")


if __name__ == "__main__":
    main()
