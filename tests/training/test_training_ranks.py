"""Processes of one training: their devices, what they must agree on, where checkpoints lie."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cion_core.errors import CionError
from cion_core.training import ranks
from cion_core.training.checkpoint import Checkpoints

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def test_each_process_has_a_gpu_or_they_share_one_through_gloo():
    assert ranks.choose_device(CPU, "auto", 3, 0) == (CPU, "gloo")
    assert ranks.choose_device(CUDA, "auto", 1, 2) == (
        torch.device("cuda", 1),
        "cpu:gloo,cuda:nccl",
    )
    assert ranks.choose_device(CUDA, "gloo", 1, 1) == (torch.device("cuda", 0), "gloo")
    with pytest.raises(
        CionError, match=r"process 2 .*there are 2; start at most 2 .*runtime\.backend to gloo"
    ):
        ranks.choose_device(CUDA, "auto", 2, 2)


@pytest.mark.parametrize(
    ("backend", "spoken", "told"),
    [("auto", "cpu:gloo,cuda:nccl", torch.device("cuda", 1)), ("gloo", "gloo", None)],
)
def test_nccl_is_told_the_gpu_of_its_process(monkeypatch, backend, spoken, told):
    begun, chosen = [], []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(
        ranks.dist,
        "init_process_group",
        lambda name, device_id=None: begun.append((name, device_id)),
    )
    monkeypatch.setattr(ranks.dist, "destroy_process_group", lambda: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with ranks.together("cuda", backend) as device:
        assert chosen == [device] == [torch.device("cuda", 1)]
    assert begun == [(spoken, told)]


def processes(count: int, script: str, folder: Path) -> subprocess.CompletedProcess:
    (folder / "script.py").write_text(script)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(count),
    ]
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [*command, "script.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


AGREE = """
import time
from pathlib import Path
from cion_core.errors import CionError
from cion_core.training import ranks

with ranks.together("cpu") as device:
    me = ranks.rank()
    ranks.check_equal("the crops", "same")
    try:
        ranks.check_equal("the crops", "same" if me == 0 else "other")
    except CionError as error:
        Path(f"said-{me}").write_text(str(error))
    assert ranks.any_process(me == 1) and not ranks.any_process(False)
    assert ranks.broadcast(f"of {me}", source=1) == "of 1"
    if me == 0:
        time.sleep(1)  # the first process exports; the others are here still
        Path("exported").touch()
Path(f"left-{me}").write_text(str(Path("exported").exists()))
"""


def test_processes_agree_on_their_inputs_and_wait_for_the_first_one_to_export(tmp_path):
    done = processes(2, AGREE, tmp_path)
    assert done.returncode == 0, done.stderr
    for rank in (0, 1):
        said = (tmp_path / f"said-{rank}").read_text()
        assert (
            said.startswith("the crops of process 1 are not those of process 0")
            and "`dvc pull`" in said
        )
        assert (tmp_path / f"left-{rank}").read_text() == "True"


ELSEWHERE = """
from pathlib import Path
from cion_core.training import ranks
from cion_core.training.checkpoint import Checkpoints
from cion_core.training.history import History

with ranks.together("cpu"):
    folder = Path(f"disk-{ranks.rank()}")
    checkpoints, history = Checkpoints(folder), History(folder)
    owner, step, state = checkpoints.load_newest_of_all()
    history.resume(step, state["history"], owner)
    Path(f"found-{ranks.rank()}").write_text(f"{owner} {step} {state['name']} {history.rows}")
assert (Path("disk-0") / "history.jsonl").exists()
"""


def test_the_newest_checkpoint_of_any_machine_is_gone_on_from(tmp_path):
    """Machines have new numbers by torchrun: the first process finds nothing, or less, on disk."""
    Checkpoints(tmp_path / "disk-0").save(1, {"name": "old", "history": 0})
    Checkpoints(tmp_path / "disk-1").save(2, {"name": "new", "history": 24})
    (tmp_path / "disk-1/history.jsonl").write_text('{"step": 0}\n{"step": 1}\n')
    done = processes(2, ELSEWHERE, tmp_path)
    assert done.returncode == 0, done.stderr
    found = [(tmp_path / f"found-{rank}").read_text() for rank in (0, 1)]
    assert found == ["1 2 new [{'step': 0}, {'step': 1}]"] * 2


ALONE = """
import sys
from pathlib import Path
import torch
from test_training_loop import Line, run
from cion_core.training import loop, ranks
from torch.nn.parallel import DistributedDataParallel

seen = []
place = loop.place
loop.place = lambda *given: seen.append(place(*given)) or seen[-1]
with ranks.together("cpu"):
    learner = Line()
    rows = run(learner, [1.0, 2.0, 3.0], Path("work"))
    assert ranks.is_distributed() and ranks.size() == 1
    assert isinstance(seen[0], DistributedDataParallel)
Path("rows").write_text(str(rows))
"""


def test_one_process_of_torchrun_goes_the_way_of_many(tmp_path, monkeypatch):
    from test_training_loop import Line, run

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    script = f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n" + ALONE
    done = processes(1, script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rows").read_text() == str(run(Line(), [1.0, 2.0, 3.0], tmp_path / "alone"))
