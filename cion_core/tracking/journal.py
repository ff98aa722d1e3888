"""A run as a folder of plain files, `.cion/tracking/KIND-NAME-KEY/`: the truth, of which MLflow gets a copy.

    run.json       id, kind, name, key, reproduction, title, params, tags, data, started, resumed, ended, status
    metrics.jsonl  one line per step: {"time": ms since 1970, "step": n, "metrics": {name: value}}
    artifacts/     files, in their subfolders
    tables/        JSON in pandas' "split" orientation, which is MLflow's
    model/         an MLflow model
    sent.json      how far the delivery is

This module knows nothing of MLflow but these formats.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import filelock
import pandas as pd

from cion_core import work

SaveModel = Callable[..., None]  # of a module, an example batch, a card and a folder: `deliver.save_model`


def milliseconds() -> int:
    """Now, since 1970."""
    return time.time_ns() // 1_000_000


def folders() -> list[Path]:
    """The journals on this machine, in the order in which they were begun."""
    found = (work.ROOT / "tracking").glob("*/run.json")
    return [path.parent for path in sorted(found, key=lambda path: read(path)["started"])]


def read(path: Path) -> dict:
    """A JSON file, {} if there is none."""
    return json.loads(path.read_text()) if path.exists() else {}


@contextmanager
def lock(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Hold the folder's lock, freed by the kernel with its holder; False if another has it and `wait` is off."""
    held = filelock.FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        held.acquire(blocking=wait)
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        held.release()


class Journal:
    """One run on disk; its lock is held by the caller."""

    def __init__(self, folder: Path, save_model: SaveModel | None = None) -> None:
        self.folder = folder
        self.about = read(folder / "run.json")
        self._save_model = save_model
        self._guard = threading.Lock()

    @classmethod
    def begin(cls, folder: Path, about: Mapping, save_model: SaveModel | None = None) -> Journal:
        """Continue the unfinished run of this folder, or begin a new one.

        Args:
            folder: of the run.
            about: what run.json holds of it.
            save_model: writes an MLflow model; without it `model` cannot be called.
        """
        if read(folder / "run.json").get("status") == "FINISHED":  # and not yet sent: out of the way
            folder.rename(folder.with_name(f"{folder.name}-{uuid.uuid4().hex[:8]}"))
        folder.mkdir(parents=True, exist_ok=True)
        journal = cls(folder, save_model)
        old = journal.about or {"id": uuid.uuid4().hex, "started": milliseconds()}
        # What was recorded first stays, as in MLflow; where the run belongs and the code it ran on are the last.
        params = {**about["params"], **old.get("params", {})}
        journal._write(
            **{**old, **about, "params": params, "resumed": milliseconds(), "status": "RUNNING", "ended": None}
        )
        journal._last = journal._recover()
        journal._samples = journal._last.get("system/cpu_utilization_percentage", -1) + 1
        return journal

    def _write(self, **about) -> None:
        self.about |= about
        work.write_json(self.folder / "run.json", self.about)

    def _recover(self) -> dict[str, int]:
        """The last step of each metric; a line that a kill has torn is cut off."""
        path = self.folder / "metrics.jsonl"
        path.touch()
        text = path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            with open(path, "r+b") as file:
                file.truncate(len(whole))
        last: dict[str, int] = {}
        for line in map(json.loads, whole.splitlines()):
            last |= dict.fromkeys(line["metrics"], line["step"])
        return last

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Record numbers of one step; what this run already has of this step or a later one is not repeated."""
        with self._guard:
            new = {name: float(value) for name, value in values.items() if step > self._last.get(name, -1)}
            if new:
                with open(self.folder / "metrics.jsonl", "a") as file:
                    file.write(json.dumps({"time": milliseconds(), "step": step, "metrics": new}) + "\n")
                self._last |= dict.fromkeys(new, step)

    def system(self, values: Mapping[str, float]) -> None:
        """Record one sample of the machine."""
        self.metrics(values, self._samples)
        self._samples += 1

    def artifact(self, path: Path | str, folder: str = "") -> None:
        """Keep a copy of a file, in a subfolder of the run's artifacts."""
        with work.atomic(self.folder / "artifacts" / folder / Path(path).name) as temporary:
            shutil.copyfile(path, temporary)

    def table(self, rows: list[dict], name: str) -> None:
        """Keep rows as an MLflow table; `name` ends in .json."""
        if PurePosixPath(name).suffix != ".json":
            raise ValueError(f"table {name!r}: a name ends in .json")
        with work.atomic(self.folder / "tables" / name) as temporary:
            pd.DataFrame(rows).to_json(temporary, orient="split", index=False, date_format="iso")

    def model(self, model, example, card: Mapping) -> None:
        """Keep a CPU module in eval mode as an MLflow model; its signature comes from an example batch.

        Args:
            model: torch.nn.Module, [B, 3, H, W] float32 to [B, D].
            example: float32 [B, 3, H, W], numpy.
            card: what the model's metadata say; anything JSON can hold.
        """
        temporary, final = self.folder / ".model", self.folder / "model"
        self._save_model(model, example, card, temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)

    def end(self, status: str) -> None:
        """FINISHED, FAILED or KILLED."""
        self._write(status=status, ended=milliseconds())

    # What the delivery reads.

    def lines(self, offset: int) -> Iterator[tuple[dict, int]]:
        """The whole lines of metrics after byte `offset`, each with the offset behind it."""
        with open(self.folder / "metrics.jsonl", "rb") as file:
            file.seek(offset)
            for line in file:
                if line.endswith(b"\n"):
                    offset += len(line)
                    yield json.loads(line), offset

    def files(self, kind: str) -> dict[str, str]:
        """Path below `kind` (artifacts, tables, model) and a stamp that changes with the file's content."""
        root = self.folder / kind
        paths = [path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".")]
        stats = {path.relative_to(root).as_posix(): path.stat() for path in sorted(paths)}
        return {name: f"{stat.st_size}-{stat.st_mtime_ns}" for name, stat in stats.items()}
