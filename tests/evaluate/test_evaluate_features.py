"""Features of a benchmark survive the death of the process that makes them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from cion_core import work
from cion_core.embed import kept
from cion_core.embed.model import load_embedder
from cion_core.errors import CionError
from cion_core.evaluate import features

# An embedder that notes which images it is given (their red is their row); it may kill its process.
MINE = """
import json, os, signal
from pathlib import Path
import numpy as np
from cion_core.config import Section
from cion_core.embed.embedders.base import Embedder


class Mine(Embedder):
    about = "the mean colour, and its sine"
    dim = 4

    class Settings(Section):
        times: float = 1

    def __call__(self, images):
        rows = [int(image[0, 0, 0]) for image in images]
        if int(os.environ.get("DEADLY", -1)) in rows:
            os.kill(os.getpid(), signal.SIGKILL)
        with open("seen.txt", "a") as file:
            file.write(json.dumps(rows) + "\\n")
        means = np.array([[*image.mean((0, 1)), np.sin(image.sum())] for image in images], np.float32)
        return self.settings.times * means.reshape(-1, 4) / np.linalg.norm(means, axis=1, keepdims=True)
"""
RUN = """
import json
from pathlib import Path
import numpy as np
from cion_core import work
from cion_core.embed import kept
from cion_core.embed.model import load_embedder
from cion_core.evaluate import features

kept.CHUNK = 10  # three batches of three
paths = json.loads(Path("paths.json").read_text())
digests = [work.sha256(path) for path in paths]
np.save("result.npy", features.embed(load_embedder("models/m"), paths, digests, 3, "test"))
"""
N = 32


@pytest.fixture
def paths(workspace: Path, own_file: Callable) -> list[str]:
    own_file(MINE)
    work.write_json("models/m/card.json", {"embedder": "mine.Mine"})
    names = [f"images/{row:02d}.png" for row in range(N)]
    Path("images").mkdir()
    for row, name in enumerate(names):
        cv2.imwrite(name, np.full((4 + row, 3, 3), (7, 3 * row, row), np.uint8))
    work.write_json("paths.json", names)
    return names


def run(deadly: int = -1) -> int:
    environment = os.environ | {
        "DEADLY": str(deadly),
        "PYTHONPATH": f"{Path(features.__file__).parents[2]}:.",
    }
    return subprocess.run(
        [sys.executable, "-c", RUN], env=environment, capture_output=True
    ).returncode


def embed(paths: list[str], batch: int = 3) -> np.ndarray:
    """Features of images as they are now."""
    digests = [work.sha256(path) for path in paths]
    return features.embed(load_embedder("models/m"), paths, digests, batch, "test")


def seen() -> list[int]:
    """The rows that were embedded since this was last asked."""
    rows = [row for line in Path("seen.txt").read_text().splitlines() for row in json.loads(line)]
    Path("seen.txt").unlink()
    return rows


def test_a_killed_process_goes_on_and_gives_the_same_bytes(paths: list[str]) -> None:
    assert run() == 0
    whole = Path("result.npy").read_bytes()
    assert seen() == list(range(N))
    features.forget(load_embedder("models/m"), paths, 3)
    Path("result.npy").unlink()

    assert run(deadly=25) == -signal.SIGKILL  # in the third chunk, rows 18 to 26
    assert seen() == list(range(24)) and not Path("result.npy").exists()
    assert run(deadly=19) == -signal.SIGKILL
    assert not Path("seen.txt").exists(), "the first two chunks are not embedded again"
    assert run() == 0
    assert seen() == list(range(18, N))
    assert Path("result.npy").read_bytes() == whole
    assert run() == 0 and not Path("seen.txt").exists(), "all are kept until they are forgotten"
    assert Path("result.npy").read_bytes() == whole


def test_chunks_appear_whole(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "CHUNK", 10)
    embed(paths)
    (folder,) = (work.ROOT / features.ROOM).iterdir()
    assert {path.name: np.load(path).shape for path in folder.iterdir()} == {
        "000000000.npy": (9, 4),
        "000000009.npy": (9, 4),
        "000000018.npy": (9, 4),
        "000000027.npy": (5, 4),
    }
    other = embed(paths[:5])
    features.forget(load_embedder("models/m"), paths, 3)
    (left,) = (work.ROOT / features.ROOM).iterdir()
    assert left != folder and np.array_equal(np.load(left / "000000000.npy"), other), (
        "of another evaluation"
    )


@pytest.mark.parametrize("changed", ["image", "card", "code", "batch", "order"])
def test_nothing_stale_is_taken(paths: list[str], changed: str) -> None:
    embed(paths)
    assert seen() == list(range(N))
    if changed == "image":
        cv2.imwrite(paths[5], np.full((4, 3, 3), (7, 8, 200), np.uint8))
    elif changed == "card":
        work.write_json("models/m/card.json", {"embedder": "mine.Mine", "times": 2})
    elif changed == "code":
        Path("mine.py").write_text(Path("mine.py").read_text() + "\n")
    order = paths[::-1] if changed == "order" else paths
    again = embed(order, 4 if changed == "batch" else 3)
    rows = list(range(N))
    rows[5] = 200 if changed == "image" else 5
    assert seen() == (rows[::-1] if changed == "order" else rows)
    np.testing.assert_allclose(
        np.linalg.norm(again, axis=1), 2 if changed == "card" else 1, rtol=1e-5
    )


def test_errors_name_the_file(paths: list[str]) -> None:
    Path(paths[20]).write_bytes(b"no picture")
    with pytest.raises(CionError, match=r"images/20\.png: not a readable image"):
        embed(paths)
    digests = [work.sha256(path) for path in paths]
    Path(paths[21]).unlink()
    with pytest.raises(CionError, match=r"images/21\.png: not a readable image; .*No such file"):
        features.embed(load_embedder("models/m"), paths, digests, 3, "test")
    cv2.imwrite(paths[3], np.zeros((4, 3, 3), np.uint8))  # of no length
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(CionError, match=r"m gives no finite feature for images/03\.png"),
    ):
        embed(paths[:10])


def test_an_image_that_nobody_has_looked_at_is_not_decoded(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a worker process may meet bytes that could end it."""
    digests = [work.sha256(path) for path in paths]
    Path(paths[0]).write_bytes(b"another file")
    monkeypatch.setattr("cion_core.images.decode", lambda data, path: pytest.fail("decoded"))
    with pytest.raises(
        CionError, match=r"^images/00\.png: it has changed since it was looked at; run this"
    ):
        features.embed(load_embedder("models/m"), paths[:1], digests[:1], 3, "test")


def test_no_images_give_no_features(paths: list[str]) -> None:
    assert embed([]).shape == (0, 4)
