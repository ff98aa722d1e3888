"""Jobs for a crew, good and bad: functions of a module, since worker processes import them."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import time
from pathlib import Path

from cion_core.errors import CionError
from cion_core.ingest.register import Clip, register

MEBIBYTE = 2**20


def do(job: str, tool: object, report) -> tuple[str, object, int]:
    """Do what the job's first word says; (job, tool, process) where nothing bad happens."""
    what, _, rest = job.partition(" ")
    if what == "once":  # bad at the first try only
        what, _, mark = rest.partition(" ")
        if Path(mark).exists():
            what = "good"
        Path(mark).touch()
    if what.startswith("reports"):
        for _ in range(int(rest)):
            report(1)
    BAD.get(what, lambda: None)()
    return job, tool, os.getpid()


def crash() -> None:
    """Read where there is nothing."""
    ctypes.string_at(0)


def hang() -> None:
    """Sleep in C, with the interpreter's lock held."""
    ctypes.PyDLL(None).sleep(600)


def eat() -> None:
    """Take memory without end."""
    eaten = []
    while True:
        eaten.append(b"x" * (64 * MEBIBYTE))


def fail() -> None:
    raise KeyError("no such key")


def misuse() -> None:
    raise CionError("params.yaml: this must be another")


def fill() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


BAD = {
    "crash": crash,
    "abort": os.abort,
    "exit": lambda: os._exit(3),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": hang,
    "wait": lambda: time.sleep(600),
    "eat": eat,
    "fail": fail,
    "reports-and-fails": fail,
    "leave": lambda: sys.exit("leaving"),
    "misuse": misuse,
    "fill": fill,
}


def tool() -> str:
    """What every worker sets up."""
    return "the tool"


def misused_tool() -> str:
    raise CionError("no weights: put them there")


def broken_tool() -> str:
    raise ValueError("not a tool")


def dying_tool() -> str:
    os.abort()


def register_or_die(clip: Clip, tool: None, report) -> dict:
    """What ingest does with a clip, but that one called bad ends the process."""
    if "bad" in clip.name:
        os.abort()
    return register(clip, tool, report)
