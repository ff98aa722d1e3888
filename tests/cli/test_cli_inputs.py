"""Every entry for images uses, and names, the same of a folder of good and damaged files.

Files that are brought one by one: `test_cli_matrix`.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from cion_core import rendered
from cion_core.config import load_yaml

# By what follows the number in a file's name: what becomes of the bytes, and the reason told.
DAMAGED = {
    "cut.jpg": (lambda data: data[: len(data) // 3], "cut off or damaged"),
    "closed.jpg": (lambda data: data[: len(data) // 3] + b"\xff\xd9", "cut off or damaged"),
    "empty.png": (lambda data: b"", "it is empty"),
    "words.webp": (lambda data: b"not found", "broken, cut off, or no image"),
}
GOOD = (
    "a.jpg",
    "b.JPEG",
    "c.png",
    "d.bmp",
    "e.tif",
    "new\nline.jpg",
    "-%s '\"😀.jpg",
    "x" * 200 + ".jpg",
)
# What has an image's name and is no file, and the reason that is told.
NO_FILES = {
    "lost.jpg": (lambda path: path.symlink_to("nowhere"), "no such file"),
    "circle.jpg": (lambda path: path.symlink_to(path.name), "too many levels of symbolic links"),
    "pipe.jpg": (os.mkfifo, "not a regular file"),
    "device.jpg": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "socket.jpg": (lambda path: listen(path), "no such device or address"),
}


def listen(path: Path) -> None:
    """Make a socket; by another name first, since its whole path must be short."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("short")
    Path("short").rename(path)


def fill(folder: Path, person: str) -> None:
    """Write GOOD and DAMAGED images, NO_FILES, and what is no image.

    That is a text, a folder that is called as an image, links in a circle, and a name that is not
    UTF-8. All images are named after `person`.
    """
    folder.mkdir(parents=True)
    for number, (name, image) in enumerate(zip(GOOD, rendered.people(1, len(GOOD)), strict=True)):
        data = cv2.imencode(Path(name).suffix.lower(), image)[1].tobytes()
        (folder / f"{person}{number}_{name}").write_bytes(data)
    jpeg = cv2.imencode(".jpg", rendered.people(1)[0])[1].tobytes()
    for number, (name, (spoil, _)) in enumerate(DAMAGED.items(), start=len(GOOD)):
        (folder / f"{person}{number}_{name}").write_bytes(spoil(jpeg))
    for number, (name, (make, _)) in enumerate(NO_FILES.items(), start=90):
        make(folder / f"{person}{number}_{name}")
    (folder / "folder.jpg").mkdir()
    (folder / "again").symlink_to(".")
    (folder / "notes.txt").write_text("words")
    Path(os.fsdecode(os.fsencode(f"{folder}/{person}") + b"98_\xe9.jpg")).write_bytes(jpeg)


def embed(cion: Callable, project: Path) -> tuple[int, str, dict]:
    fill(Path("set"), "")
    _, output = cion("embed", "set", "--model", str(project / "models/stripes"), "--out", "out.npy")
    about = json.loads(Path("out.json").read_text())
    return len(about["images"]), output, about


def search(cion: Callable, project: Path) -> tuple[int, str, None]:
    fill(Path("set"), "")
    cv2.imwrite("query.png", rendered.people(1)[0])
    _, output = cion(
        "search", "query.png", "--gallery", "set", "--model", str(project / "models/stripes")
    )
    return output.count("  set/"), output, None


def denoise(cion: Callable, project: Path) -> tuple[int, str, dict]:
    fill(Path("set/video/person"), "")
    words = [
        "--crops",
        "set",
        "--model",
        str(project / "models/stripes"),
        "--out",
        "out",
        "--tracklet-radius",
        "2",
    ]
    _, output = cion("denoise", *words)
    return (
        int(np.load("out/features.npy").any(axis=1).sum()),
        output,
        json.loads(Path("out/input.json").read_text()),
    )


def benchmark(cion: Callable, project: Path) -> tuple[int, str, dict]:
    for folder, person, camera in (
        ("bounding_box_train", 1, 1),
        ("query", 5, 1),
        ("bounding_box_test", 5, 2),
    ):
        fill(Path("set", folder), f"{person:04}_c{camera}s")
    cv2.imwrite("set/bounding_box_train/0002_c1s1.png", rendered.people(2)[1])
    values = load_yaml("params.yaml")
    values["benchmark"] = {"sources": {"mine": "set"}, "layout": "market1501"}
    values["finetune"]["runs"] = {
        "one": {"recipe": "bag_of_tricks", "on": "mine", "from": "pretrain"}
    }
    Path("params.yaml").write_text(yaml.safe_dump(values))
    _, output = cion("benchmark", "mine")
    about = json.loads(Path("data/benchmark/mine/benchmark.json").read_text())
    return about["images"]["query"], output, about


@pytest.mark.parametrize(
    "entry", [embed, search, denoise, benchmark], ids=lambda entry: entry.__name__
)
def test_what_cannot_be_used_is_named_and_the_rest_goes_through(
    entry: Callable, params: Path, cion: Callable, project: Path
) -> None:
    used, output, about = entry(cion, project)
    assert used == len(GOOD), output
    assert "passed over: .txt" in output and "Traceback" not in output
    if about is None:
        for name, (_, reason) in DAMAGED.items():
            assert f"_{name} set aside: not a readable image (" in output and reason in output
        assert r"98_\xe9.jpg set aside: its name is not UTF-8" in output
        return
    aside = about["set_aside"]
    for name, (_, reason) in DAMAGED.items():
        assert any(path.endswith(f"_{name}") and reason in why for path, why in aside.items()), (
            aside
        )
    assert any(path.endswith(r"98_\xe9.jpg") and "UTF-8" in why for path, why in aside.items())
    for name, (_, reason) in NO_FILES.items():
        assert any(path.endswith(f"_{name}") and reason in why for path, why in aside.items()), (
            aside
        )
    assert set(about["passed_over"]) == {".txt"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["embed", "none.png", "--model", "{model}", "--out", "a.npy"],
            "none.png: no such file or folder",
        ),
        (
            ["embed", "words", "--model", "words", "--out", "a.npy"],
            "words: not a file of weights: it is damaged, cut off, or of another format",
        ),
        (
            ["embed", "words", "--model", "{model}", "--out", "."],
            ".: a name ends in .parquet or .npy",
        ),
        (
            ["search", ".", "--gallery", ".", "--model", "{model}"],
            ".: it is a folder; name one image",
        ),
        (
            ["search", "words", "--gallery", "words", "--model", "{model}"],
            "words: it is a file; name a folder of images",
        ),
        (
            ["denoise", "--crops", "words", "--features", "a.npy", "--out", "out"],
            "words: valid: a crops table",
        ),
        (
            ["denoise", "--crops", "a.csv", "--features", "words", "--out", "out"],
            "words: not a .npy file of numbers",
        ),
        (
            ["denoise", "--crops", "a.csv", "--features", ".", "--out", "out"],
            ".: cannot be read: is a directory",
        ),
        (
            ["denoise", "--crops", "a.csv", "--features", "a.npy", "--out", "words"],
            "--out words: it is a file",
        ),
        (
            ["denoise", "--crops", "b.csv", "--features", "a.npy", "--out", "out"],
            "no column crop; needed are crop, video",
        ),
        (
            ["sanity", "words"],
            "words: not a file of weights: it is damaged, cut off, or of another format",
        ),
    ],
)
def test_a_wrong_input_is_at_most_three_lines(
    words: list[str], says: str, params: Path, cion: Callable, project: Path
) -> None:
    Path("words").write_text("words")
    Path("a.csv").write_text("crop,video,frame,tracklet\n0,a,0,1\n1,a,1,1\n")
    Path("b.csv").write_text("video,frame,tracklet\na,0,1\n")
    np.save("a.npy", np.eye(2))
    code, output = cion(*(word.format(model=project / "models/stripes") for word in words))
    lines = [line for line in output.splitlines() if not line.startswith("denoise: 2 crops")]
    assert code == 1 and says in output and len(lines) <= 3 and "Traceback" not in output
