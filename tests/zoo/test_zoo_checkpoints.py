"""Files of weights: told by their content, read without running their code."""

from __future__ import annotations

import argparse
import datetime
import os
import zipfile
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from pathlib import Path, PurePosixPath, WindowsPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_models import TEACHER, demo, same

from cion_core.errors import CionError
from cion_core.zoo import Card, create_model, load_weights, save


class Other(PurePosixPath):
    """Pickled as a path of another system is, which cannot be made here."""

    def __reduce__(self) -> tuple:
        return WindowsPath, (str(self),)


HARMLESS = {
    "a float": np.float64(0.87),
    "a float of 32 bits": np.float32(0.5),
    "an integer": np.int64(3),
    "a truth": np.bool_(True),
    "an array": np.arange(3.0),
    "a type": np.dtype("float32"),
    "a word": np.str_("x"),
    "a default": defaultdict(list, a=[1]),
    "counts": Counter("aab"),
    "a queue": deque([1]),
    "a time": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    "a path": Path("runs/x"),
    "a path of Windows": Other("x"),
    "a set": {1, 2},
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_trainers_keep_beside_weights_is_harmless(kind: str, tmp_path: Path) -> None:
    torch.save({"state_dict": TEACHER.state_dict(), "beside": HARMLESS[kind]}, tmp_path / "x.pth")
    model = demo(0)
    load_weights(model, tmp_path / "x.pth")
    assert same(model, TEACHER)


def test_a_factory_that_runs_code_is_refused(tmp_path: Path) -> None:
    beside = defaultdict(os.getcwd)
    torch.save({"state_dict": TEACHER.state_dict(), "beside": beside}, tmp_path / "x.pth")
    with pytest.raises(CionError, match="getcwd, which could run code"):
        load_weights(demo(0), tmp_path / "x.pth")


def test_a_checkpoint_that_lies_in_itself_is_entered_once(tmp_path: Path) -> None:
    value = {"model": TEACHER.state_dict()}
    value["trainer"] = {"checkpoint": value}
    torch.save(value, tmp_path / "x.pth")
    model = demo(0)
    load_weights(model, tmp_path / "x.pth")
    assert same(model, TEACHER)


def test_numpys_scalars_by_their_old_path(tmp_path: Path) -> None:
    """NumPy 1 kept `scalar` in numpy.core, which checkpoints of that time name."""
    torch.save({"state_dict": TEACHER.state_dict(), "rank1": np.float64(0.87)}, tmp_path / "x.pth")
    with (
        zipfile.ZipFile(tmp_path / "x.pth") as new,
        zipfile.ZipFile(tmp_path / "old.pth", "w") as old,
    ):
        for entry in new.namelist():
            old.writestr(
                entry,
                new.read(entry).replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray"),
            )
    assert b"cnumpy.core.multiarray" in (tmp_path / "old.pth").read_bytes()
    model = demo(0)
    load_weights(model, tmp_path / "old.pth")
    assert same(model, TEACHER)


class Malicious:
    """What an attacker puts into a checkpoint: unpickling it runs a shell command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


@pytest.mark.parametrize("how", ["zip", "legacy"])
def test_a_malicious_pickle_is_refused_and_does_nothing(how: str, tmp_path: Path) -> None:
    trap, file = tmp_path / "trap", tmp_path / "evil.pth"
    content = {"teacher": TEACHER.state_dict(), "args": Malicious(f"touch {trap}")}
    torch.save(content, file, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(
        CionError, match=r"evil.pth: refused: it asks for posix.system, which could run code"
    ):
        load_weights(demo(0), file)
    assert not trap.exists()
    torch.load(file, weights_only=False)  # the trap is a real one
    assert trap.exists()


def test_the_command_line_in_dinos_checkpoints_is_no_code(tmp_path: Path) -> None:
    torch.save(
        {"teacher": TEACHER.state_dict(), "args": argparse.Namespace(lr=0.1, arch="x")},
        tmp_path / "x.pth",
    )
    model = demo(0)
    load_weights(model, tmp_path / "x.pth")
    assert same(model, TEACHER)


@pytest.mark.parametrize("write", [torch.save, save_file])
@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_the_content_and_not_the_name_tells_the_format(
    tmp_path: Path, write: Callable, name: str
) -> None:
    write(TEACHER.state_dict(), tmp_path / name)
    model = demo(0)
    load_weights(model, tmp_path / name)
    assert same(model, TEACHER)


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.to("meta"),
        lambda value: value.to(torch.complex64),
        lambda value: value.to_sparse(),
    ],
)
def test_tensors_that_are_no_plain_numbers_are_named(tmp_path: Path, change: Callable) -> None:
    state = TEACHER.state_dict()
    key = next(key for key in state if key.endswith("weight"))
    torch.save(state | {key: change(state[key])}, tmp_path / "x.pth")
    with pytest.raises(
        CionError, match=f"x.pth: 1 tensors are not plain numbers, the first {key}; "
    ):
        load_weights(demo(0), tmp_path / "x.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_of_a_failed_training_are_refused(tmp_path: Path, value: float) -> None:
    state = demo(0).state_dict()
    first = next(key for key in state if key.endswith("weight"))
    state[first].view(-1)[3] = value
    torch.save(state, tmp_path / "failed.pt")
    with pytest.raises(CionError, match=f"1 tensors hold NaN or infinity, the first {first}"):
        load_weights(demo(1), tmp_path / "failed.pt")


def test_a_model_folder_of_a_failed_training_is_refused(tmp_path: Path) -> None:
    model = demo(0)
    card = Card("resnet10_ibn", "cion", (64, 32), (0.5,) * 3, (0.5,) * 3, model.num_features)
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] = float("nan")
    save(tmp_path / "model", model, card)
    with pytest.raises(CionError, match="1 tensors hold NaN or infinity"):
        create_model(tmp_path / "model")


def test_a_program_is_named(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(tmp_path / "x.pt"))
    with pytest.raises(
        CionError, match="not a file of weights: it is a TorchScript program; save its state_dict"
    ):
        load_weights(demo(0), tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.pth", b"", "not a file of weights: it is empty$"),
        (
            "x.pth",
            b"PK\x03\x04 torn",
            "not a file of weights: it is damaged, cut off, or of another format$",
        ),
        ("x.pth", b"hello", "not a file of weights: it is damaged, cut off, or of another format$"),
        (
            "x.pth",
            b"version https://git-lfs.github.com/spec/v1\n",
            "not a file of weights: it is a pointer of Git LFS",
        ),
        ("x.pth", b"<html>404</html>", "not a file of weights: it is a web page"),
        ("x.safetensors", b"<html>404</html>", "not a safetensors file: it is a web page"),
        ("x.h5", b"\x89HDF\r\n\x1a\n", "not a file of weights: it is HDF5, as Keras writes"),
        (
            "x.safetensors",
            b"\x00" * 5,
            "not a safetensors file: it is damaged, cut off, or of another format$",
        ),
        ("x.pth", None, "no such file"),
        ("x.safetensors", None, "no such file"),
    ],
)
def test_what_is_no_file_of_weights(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CionError, match=f"{name}: ({message})"):
        load_weights(demo(0), tmp_path / name)


def test_a_list_is_no_state_dict(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "x.pth")
    with pytest.raises(CionError, match="holds a list"):
        load_weights(demo(0), tmp_path / "x.pth")
