"""How workers begin, and that none outlives its training, even inside an endless image.

Processes and signals are real.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import psutil
import pytest
import torch

from cion_core.training.batches import Batches, Item


class Threads(Batches):
    """Items that tell how many threads OpenCV has where they are made."""

    def __init__(self):
        pass

    def __getitem__(self, step):
        return Item(cv2.getNumThreads(), torch.zeros(1, dtype=torch.long), [torch.ones(1)])


@pytest.fixture
def two_threads():
    """OpenCV has two threads in this process."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    yield
    cv2.setNumThreads(before)


def test_opencv_has_one_thread_in_each_of_several_workers(two_threads):
    assert Threads()[0].instances == 2
    (made,) = Threads().load(range(1), 1, torch.device("cpu"))
    assert made.instances == 1


# A training whose second worker hangs at its second item; it is told to end at its first step.
SCRIPT = """
import os, sys, time
from pathlib import Path
import torch
from torch import nn
from cion_core.errors import CionError
from cion_core.runtime import Runtime
from cion_core.training.batches import Batches, Item
from cion_core.training.checkpoint import Checkpoints
from cion_core.training.learner import Learner, Rates
from cion_core.training.loop import train

class Point(Learner):
    name, advice = "point", ""
    kept_network = property(lambda self: self)
    def __init__(self):
        super().__init__()
        self.at = nn.Parameter(torch.ones(1))
    def networks(self): return []
    def optimizer(self): return torch.optim.SGD([{"params": [self.at], "decays": False}], lr=0.1)
    def rates(self, step, steps): return Rates(0.1, 0.0)
    def forward(self, views, instances, identities): return self.at.sum() * views[0].sum(), {}

class Slow(Batches):
    def __init__(self): pass
    def __getitem__(self, step):
        if step == 3:
            Path("hangs").touch()
            while True:
                time.sleep(1)  # which a signal that is ignored does not end
        return Item(1, torch.zeros(1, dtype=torch.long), [torch.ones(1)])

if __name__ == "__main__":
    torch.set_num_threads(1)
    try:
        kept, runtime = Checkpoints("work"), Runtime(workers=2)
        for row in train(Point(), Slow(), 9, torch.device("cpu"), kept, runtime):
            while not Path("hangs").exists():
                time.sleep(0.05)
            number, everybody = int(sys.argv[1]), sys.argv[2] == "group"
            os.killpg(0, number) if everybody else os.kill(os.getpid(), number)
    except CionError as error:
        sys.exit(str(error))
"""


@pytest.mark.slow  # each starts three processes that import torch
@pytest.mark.parametrize(
    ("number", "to"), [(signal.SIGTERM, "group"), (signal.SIGKILL, "training")]
)
def test_a_training_that_is_ended_leaves_no_worker_behind(workspace, number, to):
    Path("script.py").write_text(SCRIPT)
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "script.py", str(int(number)), to],
        env=environment,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    if number == signal.SIGTERM:
        assert done.returncode == 1 and "point stopped by SIGTERM after 1 of 9 steps" in done.stderr
    else:
        assert done.returncode == -signal.SIGKILL
    # stdout and stderr are closed when the last process that has them has ended, and `run` waits
    # for that
    here = str(Path.cwd())
    left = [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == here]
    assert [process.pid for process in left] == [os.getpid()]
