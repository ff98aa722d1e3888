"""Runs that are killed go on to the same bits; two processes learn what one does."""

import json
import signal
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file
from stages import BACKBONE, PLAIN, in_processes, result, same, train

from cion_core.finetune import start

WHAT = ("tuned", "cion", BACKBONE)


def test_sigkill_at_any_time_changes_no_bit(data, settings, runtime, recorded):
    p = settings()
    start.run(p, "tuned", data)
    for step in (2, 4):
        killed = in_processes(p, runtime(workers=1), *WHAT, number=signal.SIGKILL, step=step)
        assert killed.returncode == -signal.SIGKILL and not (data / "finetune").exists()
    train(p, BACKBONE, runtime(), data)
    resumed = result(data, backbone=BACKBONE)
    train(p, BACKBONE, runtime(), data)
    assert same(result(data, backbone=BACKBONE), resumed)


def test_sigterm_ends_behind_a_checkpoint_and_says_how_to_go_on(
    data, settings, runtime, recorded, monkeypatch
):
    p = settings()
    monkeypatch.setenv("DVC_STAGE", f"finetune@cion-{BACKBONE}")
    start.run(p, "tuned", data)
    told = in_processes(
        p, runtime(checkpoint_every=5, workers=2), *WHAT, number=signal.SIGTERM, step=2
    )
    assert (
        told.returncode == 1
        and "bag_of_tricks stopped by SIGTERM after 3 of 6 steps; run again" in told.stderr
    )
    (folder,) = Path(".cion/finetune").iterdir()
    assert json.loads(Path(".cion/resume.json").read_text()) == {
        "stage": f"finetune@cion-{BACKBONE}",
        "method": "cion",
        "backbone": BACKBONE,
        "run": "tuned",
        "recipe": "bag_of_tricks",
        "benchmark": "set",
        "step": 3,
        "checkpoint": str(folder / "step-000000003.ckpt"),
    }
    train(p, BACKBONE, runtime(), data)
    resumed = result(data, backbone=BACKBONE)
    assert not Path(".cion/resume.json").exists()
    train(p, BACKBONE, runtime(), data)
    assert same(result(data, backbone=BACKBONE), resumed)


def test_two_processes_are_one_with_the_joined_batch(data, settings, runtime, recorded):
    p = settings(epochs=2, lr=1e-3)
    start.run(p, "tuned", data)
    both = in_processes(p, runtime(), "tuned", "cion", PLAIN, processes=2)
    assert both.returncode == 0, both.stderr
    assert "2 processes" in both.stdout
    weights, history = result(data, backbone=PLAIN)
    train(p, PLAIN, runtime(), data)
    alone, _ = result(data, backbone=PLAIN)
    # Neither loss sees a shift of all features: the last bias' gradient is rounding, which Adam
    # makes a step of.
    for key in alone.keys() - {"head.norm.bias"}:
        torch.testing.assert_close(weights[key], alone[key], rtol=1e-5, atol=5e-5)
    Path("history.csv").write_bytes(history)
    found, wanted = (
        pd.read_csv(path)
        for path in ("history.csv", data / f"finetune/tuned/cion-{PLAIN}/history.csv")
    )
    pd.testing.assert_frame_equal(found, wanted, rtol=1e-5, atol=1e-5)
    begun = load_file(data / f"pretrain/cion-{PLAIN}/model.safetensors")
    assert max((alone[key] - begun[key]).abs().max() for key in alone) > 1e-3, (
        "and something was learnt"
    )
