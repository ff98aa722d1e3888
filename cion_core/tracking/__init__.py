"""Runs in MLflow, written ahead: every run is first a folder of plain files, and what is new there is then sent.

Nothing that MLflow does stops a stage or loses a result: a server that is down, slow or broken costs one warning,
and `cion track sync` sends the folder later. Settings come from the environment alone, so that renaming an
experiment retrains nothing: MLFLOW_TRACKING_URI, else SQLite in the working folder; MLFLOW_EXPERIMENT_NAME, else
"cion". That experiment is the comparison, one row a model (`models`); what was run is in one beside it,
"cion reproductions", a reproduction with its stages inside (`run`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from cion_core import work
from cion_core.errors import CionError
from cion_core.progress import say
from cion_core.tracking import context, rows
from cion_core.tracking.journal import Journal, folders, lock
from cion_core.tracking.rows import ModelRow
from cion_core.tracking.views import NOTE

# Read by mlflow when it is first imported. The bounds keep an unreachable server from holding a stage up.
for _name, _value in {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}.items():
    os.environ.setdefault(_name, _value)

PERIOD = 10.0  # seconds between two deliveries while a run is live
PAUSE = 60.0  # seconds of peace after a failed one
LIMIT = 60.0  # seconds after which a delivery gives up at its next request


@contextmanager
def run(kind: str, name: str, key: str, params: Mapping, tags: Mapping[str, str] | None = None) -> Iterator[Journal]:
    """Record one run; while it lasts, a thread delivers what is new every `PERIOD` seconds.

    Args:
        kind: the stage: denoise, audit, pretrain, finetune, evaluate; or export, of a model that is registered.
        name: what tells the stage's runs apart, such as cion-resnet10_ibn.
        key: `work.key` of parameters and inputs. A run that was killed or failed under this key is continued, and
            steps that it has already recorded are not recorded twice; one that had finished is left alone.
        params: any nesting of dicts; flattened with dots.
        tags: further tags.
    """
    from cion_core.tracking import deliver  # mlflow takes a second to import; here, so that no thread does

    about = {
        "kind": kind, "name": name, "key": key, "reproduction": context.reproduction(), "title": context.title(),
        "data": context.data(),
        "params": context.flatten(params), "tags": {**context.revision(), **context.place(), **(tags or {})},
    }  # fmt: skip
    if kind == "reproduction":  # the parent itself, which its children may have created
        about |= {"id": key, "reproduction": None}
    folder = work.folder("tracking", f"{kind}-{name}-{key}")
    with lock(folder), ThreadPoolExecutor(1, thread_name_prefix="mlflow") as pool:
        postman = Postman(Journal.begin(folder, about, deliver.save_model), deliver)
        live = pool.submit(postman.rounds)
        status = "FAILED"
        try:
            yield postman.journal
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            postman.stop.set()
            live.result()  # raises what is a bug of ours and not MLflow's
            postman.journal.end(status)
            postman.deliver()


def sync() -> int:
    """Send what waits on this machine; return how many runs had something to send.

    Raises:
        CionError: MLflow refused or was not reached; everything unsent stays where it is.
    """
    from cion_core.tracking import deliver, deliver_rows

    sent, failed = 0, {}
    for folder in folders():
        with lock(folder, wait=False) as ours:
            if not ours or not folder.exists():  # a live run sends itself
                continue
            journal = Journal(folder)
            if journal.about["status"] == "RUNNING":
                journal.end("KILLED")  # by what could not say so; the stage goes on from there when it runs again
            try:
                sent += deliver.send(journal)
            except deliver.ERRORS as error:
                failed[folder] = error
    with lock(rows.FOLDER, wait=False) as ours:
        if ours and rows.waiting():
            try:
                deliver_rows.send()
                sent += 1
            except deliver.ERRORS as error:
                failed[rows.FOLDER] = error
    if failed:
        folder, error = next(iter(failed.items()))
        raise CionError(
            f"{sent} runs sent, {len(failed)} not: MLflow at {deliver.uri()} failed on {folder}, {_short(error)}. "
            "They are kept; check MLFLOW_TRACKING_URI and the server, then run `cion track sync` again"
        )
    return sent


@contextmanager
def grouped(id: str, title: str) -> Iterator[None]:
    """Runs inside are children of the run `id`, called `title` and its time, whatever started this process."""
    changes = {"CION_REPRODUCTION": id, "CION_REPRODUCTION_TITLE": title}
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def close_reproduction(
    table: list[dict] | None = None,
    page: Path | None = None,
    numbers: Mapping[str, float] | None = None,
    note: str = "",
) -> None:
    """End this reproduction's parent run, with the comparison table, the report, numbers by name, and a description.

    Nothing happens where there is no reproduction. MLflow groups charts by what stands before a name's last slash.
    The description is Markdown.
    """
    if (reproduction := context.reproduction()) is None:
        return
    with run("reproduction", "all", reproduction, {}, {NOTE: note} if note else {}) as record:
        if table:
            record.table(table, "comparison.json")
        if page:
            record.artifact(page)
        if numbers:
            record.metrics(numbers)


def models(found: Sequence[ModelRow]) -> None:
    """Show the models of the latest comparison in MLflow, one row each, instead of those of the one before."""
    from cion_core.tracking import deliver, deliver_rows

    with lock(rows.FOLDER):
        rows.keep(found)
        try:
            deliver_rows.send(LIMIT)
        except deliver.ERRORS as error:
            say(_unsent("this comparison", error, rows.FOLDER, deliver.uri()))


def prepare() -> None:
    """Make the database of runs in this folder, or mend its paths, before a server opens it; see `database`.

    Raises:
        CionError: it cannot be written or opened.
    """
    from cion_core.tracking import database, deliver

    try:
        database.prepare(deliver.uri())
    except deliver.ERRORS as error:
        raise CionError(f"MLflow at {deliver.uri()}: {_short(error)}") from None


def dashboard() -> str:
    """Where MLflow's interface shows the comparison."""
    return rows.link()


class Postman:
    """Carries one journal to MLflow, and warns once if that fails."""

    def __init__(self, journal: Journal, deliver) -> None:
        self.journal, self.mlflow = journal, deliver
        self.stop, self.warned = threading.Event(), False

    def rounds(self) -> None:
        """Sample the machine and deliver, until `stop` is set."""
        sample = context.machine()
        while True:
            self.journal.system(sample())
            if self.stop.wait(PERIOD if self.deliver() else PAUSE):
                return

    def deliver(self) -> bool:
        """Send what is new; False if MLflow failed."""
        try:
            self.mlflow.send(self.journal, LIMIT)
        except self.mlflow.ERRORS as error:
            if not self.warned:
                say(_unsent("this run", error, self.journal.folder, self.mlflow.uri()))
            self.warned = True
            return False
        return True


def _unsent(what: str, error: Exception, folder: Path, uri: str) -> str:
    return (
        f"MLflow at {uri} does not take {what} ({_short(error)}). Nothing is lost: it is kept in {folder}, and "
        "`cion track sync` sends it later."
    )


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    if getattr(error, "error_code", "") in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return "it wants MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    return f"{type(error).__name__}: {lines[0][:200]}"
