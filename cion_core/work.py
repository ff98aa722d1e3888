"""Work in progress: kept outside DVC's outputs, under keys and locks.

A key holds what the work is made of, so that nothing stale is resumed; by a lock no two processes
write at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from cion_core.progress import say

ROOT = Path(".cion")


def sha256(path: Path | str) -> str:
    """Hex SHA-256 of one file, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def key(settings: object, *inputs: Path | str) -> str:
    """Make 16 hex digits that are others whenever the settings or an input file are others.

    Args:
        settings: anything JSON can hold.
        inputs: files.
    """
    text = json.dumps(settings, sort_keys=True, default=str)
    parts = [text, *(sha256(path) for path in inputs)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def folder(room: str, key: str) -> Path:
    """Make the git-ignored folder `.cion/<room>/<key>`, if it is absent.

    Args:
        room: whose it is.
        key: from `key`.
    """
    path = ROOT / room / key
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Hold the lock `name` of this workspace; wait, saying so, for a killed run's orphan to let go.

    The kernel frees the lock when its holder dies, however it dies. Of processes that torchrun has
    started together the first holds it for all.
    """
    if int(os.environ.get("RANK", "0")) > 0:
        yield
        return
    ROOT.mkdir(exist_ok=True)
    holder = ROOT / f"{name}.pid"  # to name who is waited for; the lock itself is the kernel's
    lock = filelock.FileLock(ROOT / f"{name}.lock")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        process = holder.read_text(encoding="utf-8") if holder.is_file() else "?"
        say(f"{name}: process {process} is still at this stage; waiting for it to end")
        lock.acquire()
    try:
        holder.write_text(str(os.getpid()))
        yield
    finally:
        lock.release()


@contextmanager
def replaced(out: Path | str) -> Iterator[Path]:
    """Yield a path beside `out` that takes the place of `out` only if the block succeeds.

    Args:
        out: a folder or a file.
    """
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.stem}.{os.getpid()}.tmp{out.suffix}")
    try:
        yield temporary
        if out.is_dir():
            shutil.rmtree(out)
        temporary.replace(out)
    except OSError as error:
        error.filename = error.filename or str(out)  # a full disk does not say which one it is
        raise
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a path beside a file that replaces it, synced to disk, only if the block succeeds.

    Args:
        path: the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: writers such as numpy.save choose by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say which one it is
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path | str, value: object) -> None:
    """Write indented JSON, atomically, with a closing newline.

    A byte of a name that is not UTF-8 is written as JSON's escape (backslash, udcXX), and comes
    back as the same name.

    Args:
        path: the file.
        value: what JSON can hold.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
