"""Whatever is brought in place of a file, at every entry that takes one: named, with the reason.

The rows of the matrix are ENTRIES, its columns KINDS, its cells what is said: that of the entry
(`Entry.says`), else that of the kind (`SAID`). Entries that take folders set such files aside
instead: `test_cli_inputs`, and for videos `test_listing`.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from made_up import scene
from safetensors.torch import save_file

from cion_core import rendered


class RunsCode:
    """What a pickle calls when it is loaded."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("ran",)


def listen(path: Path) -> None:
    """Make a socket; by another name first, since its whole path must be short."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("short")
    Path("short").rename(path)


def cut(path: Path, whole: bytes) -> None:
    path.write_bytes(whole[: len(whole) // 3])


# kind: what lies there in place of the file; of a whole one there are its bytes.
KINDS: dict[str, Callable[[Path, bytes], object]] = {
    "missing": lambda path, whole: None,
    "broken link": lambda path, whole: path.symlink_to("nowhere"),
    "links in a circle": lambda path, whole: path.symlink_to(path.name),
    "folder": lambda path, whole: path.mkdir(),
    "pipe": lambda path, whole: os.mkfifo(path),
    "socket": lambda path, whole: listen(path),
    "device": lambda path, whole: path.symlink_to("/dev/zero"),
    "empty": lambda path, whole: path.touch(),
    "cut off": cut,
    "words": lambda path, whole: path.write_text("these are words"),
    "UTF-16": lambda path, whole: path.write_text("crop,video\n0,a\n", encoding="utf-16"),
    "web page": lambda path, whole: path.write_text("<html>not found</html>"),
    "picture": lambda path, whole: (
        cv2.imwrite("a.png", np.zeros((9, 9), np.uint8)) and shutil.move("a.png", path)
    ),
    "code": lambda path, whole: torch.save({"weight": RunsCode()}, path),
    "NumPy's code": lambda path, whole: path.write_bytes(
        np.lib.format.magic(1, 0) + b"v\0{'descr': '|O', 'fortran_order': False, 'shape': (1, 1)}"
    ),
}
SPECIAL = "not a regular file, but a pipe, a socket or a device"
SAID = {
    "missing": "no such file",
    "broken link": "no such file",
    "pipe": SPECIAL,
    "socket": SPECIAL,
    "device": SPECIAL,
}


@dataclass(frozen=True)
class Entry:
    """A file that a user brings.

    Attributes:
        file: its name.
        command: the words that follow `cion`.
        else_says: what is said of a kind for which neither `says` nor SAID has words.
        says: what is said of a kind.
    """

    file: str
    command: str
    else_says: str
    says: dict[str, str] = field(default_factory=dict)


TABLE_SAYS = {"folder": "no MOT text in it", "links in a circle": "no such file"}
TEXT = "not UTF-8 text; save it as UTF-8"
LOOP = "too many levels of symbolic links"
NO_WEIGHTS = "it is damaged, cut off, or of another format"
WEIGHTS_SAY = {
    "empty": "it is empty",
    "code": "posix.mkdir, which could run code when it is loaded",
    "web page": "it is a web page; download the file itself",
}
NO_MODEL = dict.fromkeys(
    ("missing", "broken link", "links in a circle"), "no such model; valid: a model folder"
)
JSON_SAYS = dict.fromkeys(("empty", "cut off", "words", "web page"), "not JSON: ")
ENTRIES = {
    "crops as CSV": Entry(
        "brought.csv",
        "denoise --crops brought.csv --features features.npy --out out",
        "not a CSV table: ",
        TABLE_SAYS
        | dict.fromkeys(("words", "web page"), "no column crop, video, frame, tracklet")
        | {"empty": "it is empty; valid is a table with a line of names first"}
        | {"UTF-16": "it is UTF-16 text; save it as UTF-8", "cut off": "not a table of crops"},
    ),
    "crops as Parquet": Entry(
        "brought.parquet",
        "denoise --crops brought.parquet --features features.npy --out out",
        "not a readable Parquet file (damaged, cut off, or of another format)",
        TABLE_SAYS,
    ),
    "MOT text": Entry(
        "brought.txt",
        "denoise --crops brought.txt --features features.npy --out out",
        "not MOT text (it is not UTF-8 text; save it as UTF-8)",
        TABLE_SAYS
        | dict.fromkeys(("words", "web page", "cut off"), "not the MOT text of a tracker")
        | {"empty": "no crops in it", "UTF-16": "it is UTF-16 text", "code": "it is packed (zip"},
    ),
    "features": Entry(
        "brought.npy",
        "denoise --crops crops.csv --features brought.npy --out out",
        "not a .npy file of numbers; --features is one of shape [N, D]",
        {"folder": "cannot be read: is a directory", "links in a circle": LOOP}
        | {"code": "found an archive, must be numbers of shape [N, D]"},
    ),
    "weights": Entry(
        "brought.pth",
        "embed person.png --model brought.pth --out a.npy",
        NO_WEIGHTS,
        NO_MODEL | WEIGHTS_SAY | {"folder": "a model folder holds card.json"},
    ),
    "weights as safetensors": Entry(
        "brought.safetensors",
        "embed person.png --model brought.safetensors --out a.npy",
        NO_WEIGHTS,
        NO_MODEL | WEIGHTS_SAY | {"folder": "a model folder holds card.json"},
    ),
    "graph": Entry(
        "brought.onnx",
        "embed person.png --model brought.onnx --out a.npy",
        f"not an ONNX graph that runs here ({NO_WEIGHTS})",
        NO_MODEL | {"folder": "a model folder holds card.json"},
    ),
    "weights to keep": Entry(
        "brought.pth",
        "model add brought.pth --name mine",
        NO_WEIGHTS,
        NO_MODEL
        | WEIGHTS_SAY
        | dict.fromkeys(NO_MODEL, "no such file, nor a name of timm")
        | {"folder": "a folder that holds neither card.json nor one .onnx file"},
    ),
    "card of a model": Entry(
        "model/card.json",
        "embed person.png --model model --out a.npy",
        TEXT,
        JSON_SAYS | {"folder": "is a directory", "links in a circle": "no such file"},
    ),
    "model to export": Entry(
        "model/card.json",
        "export model --to onnx --out graph.onnx",
        TEXT,
        JSON_SAYS | {"folder": "is a directory", "links in a circle": "no such file"},
    ),
    "params": Entry(
        "params.yaml",
        "list",
        TEXT,
        {
            "folder": "is a directory",
            "links in a circle": LOOP,
            "cut off": "must be a section of keys",
        }
        | dict.fromkeys(("empty", "words", "web page"), "must hold sections by name"),
    ),
    "model to search with": Entry(
        "model/card.json",
        "search person.png --gallery . --model model",
        TEXT,
        JSON_SAYS | {"folder": "is a directory", "links in a circle": "no such file"},
    ),
}
# What a whole one is, where a part of it is no less than a part.
WHOLE: dict[str, Callable[[Path], object]] = {
    ".csv": lambda path: scene()[0].to_csv(path, index=False),
    ".parquet": lambda path: scene()[0].to_parquet(path),
    ".txt": lambda path: path.write_text("1,1,10,10,20,40,1"),
    ".npy": lambda path: np.save(path, scene()[1]),
    ".pth": lambda path: torch.save({"weight": torch.zeros(999)}, path),
    ".safetensors": lambda path: save_file({"weight": torch.zeros(999)}, path),
    ".onnx": lambda path: path.write_bytes(b"\x08\x07:"),
    ".json": lambda path: path.write_text('{"embedder": "stripes", "stripes": 6}'),
    ".yaml": lambda path: path.write_text("ingest: {source: demo}"),
}


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of a whole file by its suffix."""
    folder = tmp_path_factory.mktemp("whole")
    for suffix, write in WHOLE.items():
        write(folder / f"whole{suffix}")
    return {suffix: (folder / f"whole{suffix}").read_bytes() for suffix in WHOLE}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_it_is_named_with_the_reason(
    entry: str, kind: str, params: Path, cion: Callable, whole_files: dict[str, bytes]
) -> None:
    brought = ENTRIES[entry]
    crops, features = scene()
    crops.to_csv("crops.csv", index=False)
    np.save("features.npy", features)
    cv2.imwrite("person.png", rendered.people(1)[0])
    path = Path(brought.file)
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    KINDS[kind](path, whole_files[path.suffix])

    code, output = cion(*brought.command.split())

    expected = brought.says.get(kind) or SAID.get(kind) or brought.else_says
    assert code == 1 and expected in output
    lines = output[output.index(f": {brought.file}") :].splitlines()
    assert len(lines) <= 3, output
    assert not Path("ran").exists(), "code has run"
