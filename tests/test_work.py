from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cion_core import work

HOLDER = """
import sys
from cion_core import work
with work.exclusive("stage"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_key_sees_settings_and_contents(tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_text("one")
    first = work.key({"a": 1, "b": 2}, file)
    assert first == work.key({"b": 2, "a": 1}, file)
    assert first != work.key({"a": 1, "b": 3}, file)
    file.write_text("two")
    assert first != work.key({"a": 1, "b": 2}, file)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "value.json"
    work.write_json(file, {"a": 1})
    with pytest.raises(TypeError):
        work.write_json(file, {"a": object()})
    assert file.read_text() == '{\n  "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [file]


def test_a_second_process_waits_and_a_killed_one_lets_go(
    workspace: Path, project: Path, capsys: pytest.CaptureFixture
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(project)}
    command = [sys.executable, "-c", HOLDER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    first = subprocess.Popen(command, **pipes)
    assert first.stdout.readline() == "held\n"
    second = subprocess.Popen(command, **pipes)
    assert f"process {first.pid} is still at this stage" in second.stdout.readline()
    first.send_signal(signal.SIGKILL)
    assert second.stdout.readline() == "held\n"
    second.communicate()
    first.communicate()
