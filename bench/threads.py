"""How much a busy neighbour slows the demo's training down, by how its threads wait.

python bench/threads.py

Each form trains in a process of its own, and all take short turns, with a process beside them that
does nothing but count, and without. Printed are for each form the medians of a step's seconds, and
its ratios: to the first form where both are alone, and of its own with a neighbour and without.
Where other work runs on the machine "alone" is not alone: `quickest` are the shortest turns, which
that disturbed least.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from step import ROOT, Trainer, trainers

# How long OpenMP's threads stay awake at the end of an operation, where they wait for each other,
# and how many there are. `cion` lets them sleep at once; a count of turns overrides that, and
# 300,000 is libgomp's own.
FORMS = {
    "awake, libgomp's default": {"GOMP_SPINCOUNT": "300000"},
    "asleep at once (cion)": {},
    "asleep soon": {"GOMP_SPINCOUNT": "1000"},
    "one thread fewer than cores": {
        "OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) - 1))
    },
}
# A process that only counts, as long as this one is there.
NEIGHBOUR = """
import os
parent, count = os.getppid(), 0
while os.getppid() == parent:
    for _ in range(1_000_000):
        count += 1
"""
VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--steps", type=int, default=2, help="of a turn")
    o = parser.parse_args()
    for variable in VARIABLES:
        os.environ.pop(variable, None)
    neighbour = subprocess.Popen([sys.executable, "-c", NEIGHBOUR])
    neighbour.send_signal(signal.SIGSTOP)
    taken = np.empty((2, len(FORMS), o.turns))
    try:
        with tempfile.TemporaryDirectory() as place:
            made = [
                Trainer(ROOT, Path(place) / str(number), o.steps, environment)
                for number, environment in enumerate(FORMS.values())
            ]
            with trainers(*made):
                for turn in range(o.turns):
                    for busy in (0, 1):
                        neighbour.send_signal(signal.SIGCONT if busy else signal.SIGSTOP)
                        taken[busy, :, turn] = [trainer.turn()[0] for trainer in made]
                        neighbour.send_signal(signal.SIGSTOP)
    finally:
        neighbour.kill()
        neighbour.wait()
    for name, of in (("medians", np.median), ("quickest", np.min)):
        alone, beside = of(taken, 2)
        print(f"{name:30}{'alone':>9}{'beside':>9}{'of the first':>14}{'beside/alone':>14}")
        for form, one, other in zip(FORMS, alone, beside, strict=True):
            print(f"{form:30}{one:>9.3f}{other:>9.3f}{one / alone[0]:>14.2f}{other / one:>14.2f}")


if __name__ == "__main__":
    main()
