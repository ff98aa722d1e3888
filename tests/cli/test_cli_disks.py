"""A full disk and a read-only folder, both real: said in a line, and nothing half-written stays.

Root may write anywhere, whatever the rights of a folder say, so both are file systems of a
namespace of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_up import scene

from cion_core import rendered

pytestmark = pytest.mark.slow  # each starts the command
ROOT = Path(__file__).parents[2]
TMPFS = "mount -t tmpfs -o size=4k tmpfs place"
FULL = f"{TMPFS} && head -c 4096 /dev/zero > place/filler"
READ_ONLY = f"{TMPFS} && mount -o remount,ro place"
EMBED = ["embed", "person.png", "--model", str(ROOT / "models/stripes"), "--out", "place/a.npy"]
DENOISE = ["denoise", "--crops", "crops.csv", "--features", "features.npy", "--out", "place/out"]
SAID = {
    FULL: "no space left on device; make room",
    READ_ONLY: "read-only file system; this folder cannot be written",
}


def in_own_namespace(script: str, *words: str) -> subprocess.CompletedProcess:
    """Run a command of `cion` after a script that mounts; nobody else sees the mounts."""
    command = f'{script} && shift && "$@"; code=$?; find place -name "*.tmp*"; exit $code'
    words = ("sh", "-c", command, "sh", "-", sys.executable, "-m", "cion_core.cli", *words)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["unshare", "-rm", *words], env=environment, capture_output=True, text=True
    )


@pytest.fixture
def place(workspace: Path) -> Path:
    (workspace / "place").mkdir()
    try:
        subprocess.run(["unshare", "-rm", "sh", "-c", TMPFS], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this machine lets no user mount a file system ({error})")
    cv2.imwrite("person.png", rendered.people(1)[0])
    crops, features = scene()
    crops.to_csv("crops.csv", index=False)
    np.save("features.npy", features)
    return workspace / "place"


@pytest.mark.parametrize("mount", [FULL, READ_ONLY], ids=["full", "read-only"])
@pytest.mark.parametrize("words", [EMBED, DENOISE], ids=["embed", "denoise"])
def test_it_is_said_in_a_line_and_nothing_half_written_stays(
    place: Path, mount: str, words: list[str]
) -> None:
    done = in_own_namespace(mount, *words)
    assert done.returncode == 1
    (line,) = [
        line
        for line in done.stderr.splitlines()
        if line.startswith(f"{words[0]}: ") and "|" not in line
    ]
    assert line.startswith(f"{words[0]}: place/") and SAID[mount] in line, (
        "it names what could not be written"
    )
    assert "Traceback" not in done.stderr
    assert ".tmp" not in done.stdout, "a temporary file is left"


def test_the_next_run_is_right(place: Path) -> None:
    assert in_own_namespace(FULL, *DENOISE).returncode == 1
    for out in ("place/out", "undisturbed"):
        subprocess.run(
            [sys.executable, "-m", "cion_core.cli", *DENOISE[:-1], out],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
        )
    for name in ("identities.parquet", "ledger.parquet", "links.npz"):
        assert (place / "out" / name).read_bytes() == Path("undisturbed", name).read_bytes()
