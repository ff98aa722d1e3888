"""A training stage in real processes that get a real signal after a step."""

import json
import os
import subprocess
import sys
from pathlib import Path

from safetensors.torch import load_file

# A process that trains, and sends a signal to itself and its workers. Under torchrun its first
# process alone does so.
SCRIPT = """
import importlib, json, os, sys
from contextlib import contextmanager
from pathlib import Path
import torch
from cion_core import tracking
from cion_core.errors import CionError
from cion_core.runtime import Runtime

file, room, number, last, *what = sys.argv[1:]

class Record:
    def metrics(self, values, step):
        if step == int(last):
            os.kill(os.getpid(), int(number)) if "RANK" in os.environ else os.killpg(0, int(number))
    def artifact(self, path): pass
    def model(self, model, example, card): pass

@contextmanager
def run(*_):
    yield Record()

if __name__ == "__main__":  # workers import this file
    torch.set_num_threads(1)
    tracking.run = run
    settings = importlib.import_module(f"cion_core.{room}.settings")
    stage = importlib.import_module(f"cion_core.{room}.stage")
    try:
        p, runtime = json.loads(Path(file).read_text())
        stage.run(getattr(settings, room.capitalize()).model_validate(p), *what, Runtime(**runtime))
    except CionError as error:
        sys.exit(str(error))
"""


def start(room, p, runtime, *what, number=0, step=-1, processes=1):
    """Train `what` (as the room's stage is told) in one or several processes.

    They get signal `number` after `step`.
    """
    Path("settings.json").write_text(
        json.dumps([p.model_dump(by_alias=True), runtime.model_dump()])
    )
    Path("script.py").write_text(SCRIPT)
    many = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] * (
        processes > 1
    )
    words = ["script.py", "settings.json", room, str(int(number)), str(step), *what]
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, *many, *words],
        env=environment,
        capture_output=True,
        text=True,
        start_new_session=True,
    )


def result(data, method, backbone, room):
    """The weights and the history that a stage has left."""
    folder = data / room / f"{method}-{backbone}"
    return load_file(folder / "model.safetensors"), (folder / "history.csv").read_bytes()
