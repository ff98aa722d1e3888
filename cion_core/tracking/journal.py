"""A run as a folder of plain files, `.cion/tracking/KIND-NAME-KEY/`; MLflow gets a copy.

::

    run.json       id, kind, name, key, reproduction, title, params, tags, data,
                   started, resumed, ended, status
    metrics.jsonl  one line per step: {"time": ms since 1970, "step": n, "metrics": {name: value}}
    artifacts/     files, in their subfolders
    tables/        JSON in pandas' "split" orientation, which is MLflow's
    model/         an MLflow model
    sent.json      what has been uploaded

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

# Takes a module, an example batch, a card and a folder: `saved_model.save_model`.
SaveModel = Callable[..., None]


def milliseconds_now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def find_journals() -> list[Path]:
    """The folders of the journals on this machine, in the order in which they were begun."""
    descriptions = (work.ROOT / "tracking").glob("*/run.json")
    in_order = sorted(descriptions, key=lambda path: read_json(path)["started"])
    return [path.parent for path in in_order]


def read_json(path: Path) -> dict:
    """A JSON file, {} if there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def flatten(values: Mapping, prefix: str = "") -> dict[str, str]:
    """Nested dicts as one: {"a": {"b": 1}} becomes {"a.b": "1"}."""
    flat = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(value)
    return flat


@contextmanager
def lock(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a folder's lock. The system frees it when its holder ends, however that happens.

    Args:
        folder: of a journal, or of the rows of the comparison.
        wait: for another process that holds it.

    Yields:
        Whether the lock is held; False only where another process has it and `wait` is off.
    """
    folder_lock = filelock.FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        folder_lock.acquire(blocking=wait)
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        folder_lock.release()


class Journal:
    """One run on disk. Whoever makes a journal holds its folder's lock.

    Args:
        folder: of the run.
        save_model: writes an MLflow model; `model` needs it.
    """

    def __init__(self, folder: Path, save_model: SaveModel | None = None) -> None:
        self.folder = folder
        self.about = read_json(folder / "run.json")
        self._save_model = save_model
        # Metrics come from the stage and from the thread that samples the machine.
        self._writing = threading.Lock()

    @classmethod
    def begin(cls, folder: Path, about: Mapping, save_model: SaveModel | None = None) -> Journal:
        """Continue the unfinished run of this folder, or begin a new one.

        Args:
            folder: of the run.
            about: what run.json is to say of it.
            save_model: writes an MLflow model; `model` needs it.
        """
        # A finished run that has not been uploaded yet makes room, and waits beside.
        if read_json(folder / "run.json").get("status") == "FINISHED":
            folder.rename(folder.with_name(f"{folder.name}-{uuid.uuid4().hex[:8]}"))
        folder.mkdir(parents=True, exist_ok=True)
        journal = cls(folder, save_model)
        earlier = journal.about or {"id": uuid.uuid4().hex, "started": milliseconds_now()}
        # Params keep their first value, as in MLflow. All else is what this attempt says.
        params = {**about["params"], **earlier.get("params", {})}
        state = {"resumed": milliseconds_now(), "status": "RUNNING", "ended": None}
        journal._write(**{**earlier, **about, "params": params, **state})
        journal._last_steps = journal._recover_last_steps()
        last_sample = journal._last_steps.get("system/cpu_utilization_percentage", -1)
        journal._samples = last_sample + 1
        return journal

    def _write(self, **about) -> None:
        self.about |= about
        work.write_json(self.folder / "run.json", self.about)

    def _recover_last_steps(self) -> dict[str, int]:
        """The last step of each metric. A line that a killed run has half written is cut off."""
        path = self.folder / "metrics.jsonl"
        path.touch()
        written = path.read_bytes()
        whole_lines = written[: written.rfind(b"\n") + 1]
        if len(whole_lines) < len(written):
            with open(path, "r+b") as file:
                file.truncate(len(whole_lines))
        last_steps: dict[str, int] = {}
        for text in whole_lines.splitlines():
            line = json.loads(text)
            last_steps |= dict.fromkeys(line["metrics"], line["step"])
        return last_steps

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Record numbers of one step, but for metrics that have it or a later one already."""
        with self._writing:
            new = {}
            for name, value in values.items():
                if step > self._last_steps.get(name, -1):
                    new[name] = float(value)
            if new:
                line = {"time": milliseconds_now(), "step": step, "metrics": new}
                with open(self.folder / "metrics.jsonl", "a") as file:
                    file.write(json.dumps(line) + "\n")
                self._last_steps |= dict.fromkeys(new, step)

    def machine_sample(self, values: Mapping[str, float]) -> None:
        """Record one sample of the machine; the samples are counted as steps."""
        self.metrics(values, self._samples)
        self._samples += 1

    def artifact(self, path: Path | str, folder: str = "") -> None:
        """Keep a copy of a file, in a subfolder of the run's artifacts."""
        target = self.folder / "artifacts" / folder / Path(path).name
        with work.atomic(target) as temporary:
            shutil.copyfile(path, temporary)

    def table(self, rows: list[dict], name: str) -> None:
        """Keep rows as an MLflow table.

        Args:
            rows: dicts of the same keys, the columns.
            name: of the table; it ends in .json.

        Raises:
            ValueError: the name has another ending.
        """
        if PurePosixPath(name).suffix != ".json":
            raise ValueError(f"table {name!r}: a name ends in .json")
        table = pd.DataFrame(rows)
        with work.atomic(self.folder / "tables" / name) as temporary:
            table.to_json(temporary, orient="split", index=False, date_format="iso")

    def model(self, model, example, card: Mapping) -> None:
        """Keep a module as an MLflow model; its signature comes from an example batch.

        Args:
            model: torch.nn.Module in eval mode on the CPU, [B, 3, H, W] float32 to [B, D].
            example: float32 [B, 3, H, W], numpy.
            card: what the model's metadata say; anything that JSON can hold.
        """
        temporary = self.folder / ".model"
        final = self.folder / "model"
        self._save_model(model, example, card, temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)

    def end(self, status: str) -> None:
        """Write down how the run ended: FINISHED, FAILED or KILLED."""
        self._write(status=status, ended=milliseconds_now())

    # What the upload reads.

    def read_metrics(self, offset: int) -> Iterator[tuple[dict, int]]:
        """The whole lines of metrics.jsonl from byte `offset` on, each with where it ends."""
        with open(self.folder / "metrics.jsonl", "rb") as file:
            file.seek(offset)
            for line in file:
                if line.endswith(b"\n"):
                    offset += len(line)
                    yield json.loads(line), offset

    def find_files(self, kind: str) -> dict[str, str]:
        """The files of a folder of the journal, and whether they have changed.

        Args:
            kind: artifacts, tables or model.

        Returns:
            {path below the folder: a stamp that changes with the file's content}.
        """
        root = self.folder / kind
        stamps = {}
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                stat = path.stat()
                stamps[path.relative_to(root).as_posix()] = f"{stat.st_size}-{stat.st_mtime_ns}"
        return stamps
