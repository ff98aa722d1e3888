"""Runs that are killed, told to end, or spread over processes: no bit is changed.

Processes and signals are real.
"""

import json
import signal
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import signalled
import torch
from safetensors.torch import load_file

from cion_core.errors import CionError
from cion_core.pretrain import stage

BACKBONE = "resnet10_ibn"
PLAIN = "test_convnext"  # no batch norm, which sees only a process's own share
CHANGING = {"cion": {"lr": 0.003, "instances": [(0.0, 2), (0.5, 4)]}}  # K changes at step 3
WITHOUT = {
    "image": (64, 64), "local_image": (32, 32), "backbones": [PLAIN],
    "head": {"out_dim": 16, "hidden": 8, "bottleneck": 4, "batch_norm": False},
}  # fmt: skip
start, result = partial(signalled.start, "pretrain"), partial(signalled.result, room="pretrain")


def same(one, other):
    return one[1] == other[1] and one[0].keys() == other[0].keys() and all(
        torch.equal(one[0][key], other[0][key]) for key in one[0]
    )  # fmt: skip


def checkpoints():
    (folder,) = Path(".cion/pretrain").iterdir()
    return [path.name for path in sorted(folder.glob("step-*"))]


@pytest.mark.parametrize(
    ("method", "kills", "changes", "ran"),
    [
        # between checkpoints, before K changes; then, resumed, after the change and a checkpoint
        ("cion", (2, 4), CHANGING, {}),
        ("pnl", (2,), {}, {"workers": 2}),
    ],
)
def test_sigkill_at_any_time_changes_no_bit(
    data, settings, runtime, recorded, method, kills, changes, ran
):
    p = settings(**changes)
    for step in kills:
        killed = start(p, runtime(**ran), method, BACKBONE, number=signal.SIGKILL, step=step)
        assert (
            killed.returncode == -signal.SIGKILL
            and not (data / f"pretrain/{method}-{BACKBONE}").exists()
        )
    assert checkpoints() == [f"step-{step:09d}.ckpt" for step in kills]
    stage.run(p, method, BACKBONE, runtime(**ran))
    resumed = result(data, method, BACKBONE)
    assert not list(Path(".cion/pretrain").iterdir())
    stage.run(p, method, BACKBONE, runtime(checkpoint_every=5))
    assert same(result(data, method, BACKBONE), resumed)


def test_sigterm_ends_behind_a_checkpoint_and_says_how_to_go_on(
    data, settings, runtime, recorded, monkeypatch
):
    p, ran = settings(**CHANGING), runtime(checkpoint_every=5, workers=2)
    monkeypatch.setenv("DVC_STAGE", f"pretrain@cion-{BACKBONE}")
    told = start(p, ran, "cion", BACKBONE, number=signal.SIGTERM, step=2)
    assert (
        told.returncode == 1
        and "cion stopped by SIGTERM after 3 of 6 steps; run again" in told.stderr
    )
    (folder,) = Path(".cion/pretrain").iterdir()
    assert json.loads(Path(".cion/resume.json").read_text()) == {
        "stage": f"pretrain@cion-{BACKBONE}", "method": "cion", "backbone": BACKBONE, "step": 3,
        "checkpoint": str(folder / "step-000000003.ckpt"),
    }  # fmt: skip
    stage.run(p, "cion", BACKBONE, ran)
    resumed = result(data, "cion", BACKBONE)
    assert not Path(".cion/resume.json").exists()
    stage.run(p, "cion", BACKBONE, ran)
    assert same(result(data, "cion", BACKBONE), resumed)


@pytest.mark.parametrize("method", ["cion", "pnl"])
def test_two_processes_are_one_with_the_joined_batch(data, settings, runtime, recorded, method):
    p = settings(**WITHOUT, steps=4, momentum={"teacher": 0.5, "center": 0.9}, **CHANGING)
    both = start(p, runtime(), method, PLAIN, processes=2)
    assert both.returncode == 0, both.stderr
    weights, history = result(data, method, PLAIN)
    assert "2 processes" in both.stdout
    stage.run(p, method, PLAIN, runtime())
    alone = load_file(data / f"pretrain/{method}-{PLAIN}/model.safetensors")
    for key, value in alone.items():
        torch.testing.assert_close(weights[key], value, rtol=1e-5, atol=1e-5)
    Path("history.csv").write_bytes(history)
    found, wanted = (
        pd.read_csv(path)
        for path in ("history.csv", data / f"pretrain/{method}-{PLAIN}/history.csv")
    )
    pd.testing.assert_frame_equal(found, wanted, rtol=1e-5, atol=1e-5)
    stage.run(settings(**WITHOUT, steps=1), "random", PLAIN, runtime())
    begun = load_file(data / f"pretrain/random-{PLAIN}/model.safetensors")
    assert max((alone[key] - begun[key]).abs().max() for key in alone) > 1e-3, (
        "and something was learnt"
    )


def test_two_processes_are_killed_and_told_to_end(data, settings, runtime):
    p = settings(**CHANGING)  # with batch norm, each process has statistics of its own
    whole = start(p, runtime(), "cion", BACKBONE, processes=2)
    assert whole.returncode == 0, whole.stderr
    wanted = result(data, "cion", BACKBONE)
    (data / f"pretrain/cion-{BACKBONE}/history.csv").unlink()
    killed = start(p, runtime(), "cion", BACKBONE, number=signal.SIGKILL, step=2, processes=2)
    assert killed.returncode and checkpoints() == ["step-000000002.ckpt"]
    told = start(p, runtime(), "cion", BACKBONE, number=signal.SIGTERM, step=3, processes=2)
    assert told.returncode and json.loads(Path(".cion/resume.json").read_text())["step"] in (4, 5)
    resumed = start(p, runtime(), "cion", BACKBONE, processes=2)
    assert resumed.returncode == 0, resumed.stderr
    assert same(result(data, "cion", BACKBONE), wanted)


def test_a_batch_that_cannot_be_shared_out(data, settings, runtime, recorded):
    p = settings(cion={"lr": 0.003, "instances": [(0.0, 4)]})
    with pytest.raises(
        CionError, match=r"pretrain\.batch 8 .*1 processes x runtime\.accumulate 4 .*multiple of 16"
    ):
        stage.run(p, "cion", BACKBONE, runtime(accumulate=4))
