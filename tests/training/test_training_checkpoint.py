"""Checkpoints survive a torn write and bring every generator back."""

import random

import numpy as np
import pytest
import torch

from cion_core.training.checkpoint import Checkpoints, restore_rng, restore_rngs, rng_state


def test_newest_comes_back_and_old_ones_go(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.load_newest() is None
    for step in (9, 10, 100):
        checkpoints.save(
            step, {"weights": torch.full((3,), float(step)), "name": "x", "rows": [[1, 2.5]]}
        )
    step, state = checkpoints.load_newest()
    assert step == 100 and state["weights"].tolist() == [100.0] * 3 and state["rows"] == [[1, 2.5]]
    assert [path.name for path in tmp_path.iterdir() if "100" in path.name] == [
        "step-000000100.ckpt"
    ]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_damaged_newest_falls_back_with_a_warning(tmp_path, capsys, damage):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"a": torch.arange(5)})
    path = checkpoints.save(2, {"a": torch.arange(6)})
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    path.write_bytes({"truncate": data[:-7], "flip": data, "empty": b""}[damage])
    step, state = checkpoints.load_newest()
    assert step == 1 and state["a"].tolist() == list(range(5))
    assert str(path) in capsys.readouterr().out
    checkpoints.save(3, {})
    assert [file.name for file in checkpoints.files()] == [
        "step-000000001.ckpt",
        "step-000000003.ckpt",
    ]


def test_every_generator_comes_back(tmp_path):
    def draw():
        return (
            torch.rand(2).tolist(),
            np.random.rand(2).tolist(),
            np.random.randn(),
            random.random(),
        )

    np.random.randn()  # leaves a second Gaussian waiting in NumPy's state
    Checkpoints(tmp_path).save(0, rng_state())
    before = draw()
    draw()
    restore_rng(Checkpoints(tmp_path).load_newest()[1])
    assert draw() == before


def test_other_random_numbers_are_said_aloud(capsys, monkeypatch):
    state = rng_state()
    restore_rngs([state], torch.device("cpu"))
    assert "warning" not in capsys.readouterr().out
    restore_rngs([state, state], torch.device("cpu"))
    assert "is of 2 processes, now there are 1; dropout" in capsys.readouterr().out
    restore_rng(state, torch.device("cuda"))
    assert "made on a CPU" in capsys.readouterr().out


def test_a_gpus_generator_comes_back_whichever_gpu_it_is(monkeypatch):
    """Of the process's own GPU, so that it does not matter how many others the machine has."""
    states = {torch.device("cuda", 1): torch.tensor([4])}
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: states[device])
    monkeypatch.setattr(
        torch.cuda, "set_rng_state", lambda state, device: states.__setitem__(device, state)
    )
    restore_rng(rng_state(torch.device("cuda", 1)), torch.device("cuda", 0))
    assert states[torch.device("cuda", 0)].item() == 4
