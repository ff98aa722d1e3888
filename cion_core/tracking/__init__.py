"""Runs in MLflow. Each is first a folder of plain files, a journal, and MLflow gets a copy.

Nothing that MLflow does stops a stage or loses a result. A server that is down, slow or broken
costs one warning, and `cion track sync` uploads the folder later.

Settings come from the environment alone, so that renaming an experiment retrains nothing:
MLFLOW_TRACKING_URI, else SQLite in the working folder; MLFLOW_EXPERIMENT_NAME, else "cion". That
experiment is the comparison, with one row for each model (`show_models`). What was run lies in an
experiment beside it, "cion reproductions": each reproduction with its stages inside (`run`).
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
from cion_core.tracking.journal import Journal, find_journals, flatten, lock
from cion_core.tracking.rows import ModelRow
from cion_core.tracking.views import NOTE_TAG

# MLflow reads these when it is first imported. The bounds keep an unreachable server from holding a
# stage up.
MLFLOW_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
for _name, _value in MLFLOW_SETTINGS.items():
    os.environ.setdefault(_name, _value)

# Seconds between two uploads while a run is live.
UPLOAD_SECONDS = 10.0
# Seconds to wait after an upload that failed.
RETRY_SECONDS = 60.0
# After so many seconds an upload begins no further request.
DEADLINE_SECONDS = 60.0
# MLflow's errors for a server that wants a token or a password.
UNAUTHORISED = ("UNAUTHENTICATED", "PERMISSION_DENIED")


@contextmanager
def run(
    kind: str,
    name: str,
    key: str,
    params: Mapping,
    tags: Mapping[str, str] | None = None,
) -> Iterator[Journal]:
    """Record one run. While it lasts, a thread uploads what is new every `UPLOAD_SECONDS` seconds.

    Args:
        kind: the stage, such as denoise or pretrain; or export, of a model that is registered; or
            study or reproduction, the parents of the others.
        name: what tells the stage's runs apart, such as cion-resnet10_ibn.
        key: `work.key` of parameters and inputs. A run that was killed or failed under this key is
            continued, and steps that it has already recorded are not recorded twice; one that had
            finished is left alone.
        params: any nesting of dicts; flattened with dots.
        tags: further tags.

    Yields:
        The journal, to record into.
    """
    # mlflow takes a second to import: once, here, and not by the thread while the stage works.
    from cion_core.tracking import upload  # noqa: F401
    from cion_core.tracking.saved_model import save_model

    all_tags = {**context.describe_revision(), **context.describe_machine(), **(tags or {})}
    about = {
        "kind": kind,
        "name": name,
        "key": key,
        "reproduction": context.find_reproduction(),
        "title": context.reproduction_title(),
        "data": context.find_data(),
        "params": flatten(params),
        "tags": all_tags,
    }
    # The parent run itself. A child may have created it in MLflow already, under this id.
    if kind == "reproduction":
        about |= {"id": key, "reproduction": None}
    folder = work.folder("tracking", f"{kind}-{name}-{key}")
    with lock(folder), ThreadPoolExecutor(1, thread_name_prefix="mlflow") as pool:
        journal = Journal.begin(folder, about, save_model)
        uploader = LiveUploader(journal)
        live_upload = pool.submit(uploader.upload_until_stopped)
        status = "FAILED"
        try:
            yield journal
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            uploader.stop.set()
            # Raises errors of the thread; these are bugs of this package, for MLflow's are caught
            # there.
            live_upload.result()
            journal.end(status)
            uploader.upload()


def sync() -> int:
    """Upload what waits on this machine.

    Returns:
        How many runs had something to upload.

    Raises:
        CionError: MLflow refused or was not reached; all that was not uploaded stays where it is.
    """
    from cion_core.tracking import server, upload, upload_rows

    sent = 0
    failed: dict[Path, Exception] = {}
    # 1. Runs, but for live ones, which upload themselves.
    for folder in find_journals():
        with lock(folder, wait=False) as is_held:
            if not is_held or not folder.exists():
                continue
            journal = Journal(folder)
            # Nobody holds the lock, so the process was killed, and could not write that down.
            if journal.about["status"] == "RUNNING":
                journal.end("KILLED")
            try:
                sent += upload.upload_run(journal)
            except server.ERRORS as error:
                failed[folder] = error
    # 2. The rows of the comparison.
    with lock(rows.FOLDER, wait=False) as is_held:
        if is_held and rows.are_waiting():
            try:
                upload_rows.upload_rows()
                sent += 1
            except server.ERRORS as error:
                failed[rows.FOLDER] = error
    if failed:
        folder, error = next(iter(failed.items()))
        reason = f"MLflow at {server.tracking_uri()} failed on {folder}, {_describe_error(error)}"
        raise CionError(
            f"{sent} runs sent, {len(failed)} not: {reason}. They are kept; check "
            "MLFLOW_TRACKING_URI and the server, then run `cion track sync` again"
        )
    return sent


@contextmanager
def group_runs(id: str, title: str) -> Iterator[None]:
    """Make the runs inside children of one run, whatever has started this process.

    Args:
        id: of the parent run.
        title: what it is called; its time is added.
    """
    changes = {"CION_REPRODUCTION": id, "CION_REPRODUCTION_TITLE": title}
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def close_parent_run(
    table: list[dict] | None = None,
    page: Path | None = None,
    numbers: Mapping[str, float] | None = None,
    note: str = "",
) -> None:
    """End the run that this reproduction or study is. Nothing happens outside of both.

    Args:
        table: the comparison or the study's means, a dict per row.
        page: the report, or the study's chart.
        numbers: by name; MLflow puts those into one group of charts whose names agree up to the
            last slash.
        note: the run's description, in Markdown.
    """
    reproduction = context.find_reproduction()
    if reproduction is None:
        return
    tags = {NOTE_TAG: note} if note else {}
    with run("reproduction", "all", reproduction, {}, tags) as record:
        if table:
            record.table(table, "comparison.json")
        if page:
            record.artifact(page)
        if numbers:
            record.metrics(numbers)


def show_models(models: Sequence[ModelRow]) -> None:
    """Show the models of the latest comparison in MLflow, one row each, and no earlier ones."""
    from cion_core.tracking import server, upload_rows

    with lock(rows.FOLDER):
        rows.keep(models)
        try:
            upload_rows.upload_rows(DEADLINE_SECONDS)
        except server.ERRORS as error:
            say(_warn_unsent("this comparison", error, rows.FOLDER, server.tracking_uri()))


def prepare_database() -> None:
    """Make the database of runs in this folder, or mend it, before a server opens it.

    Raises:
        CionError: it cannot be written or opened.
    """
    from cion_core.tracking import database, server

    uri = server.tracking_uri()
    try:
        database.prepare(uri)
    except server.ERRORS as error:
        raise CionError(f"MLflow at {uri}: {_describe_error(error)}") from None


def comparison_link() -> str:
    """Where MLflow's interface shows the comparison."""
    return rows.find_link()


class LiveUploader:
    """Uploads one journal while its run lasts, and warns once if that fails.

    Args:
        journal: of the run.
    """

    def __init__(self, journal: Journal) -> None:
        self.stop = threading.Event()
        self._journal = journal
        self._has_warned = False

    def upload_until_stopped(self) -> None:
        """Sample the machine and upload, until `stop` is set."""
        sample = context.machine_sampler()
        while True:
            self._journal.machine_sample(sample())
            pause = UPLOAD_SECONDS if self.upload() else RETRY_SECONDS
            if self.stop.wait(pause):
                return

    def upload(self) -> bool:
        """Upload what is new; False if MLflow failed."""
        from cion_core.tracking import server, upload

        try:
            upload.upload_run(self._journal, DEADLINE_SECONDS)
        except server.ERRORS as error:
            if not self._has_warned:
                folder = self._journal.folder
                say(_warn_unsent("this run", error, folder, server.tracking_uri()))
            self._has_warned = True
            return False
        return True


def _warn_unsent(what: str, error: Exception, folder: Path, uri: str) -> str:
    return (
        f"MLflow at {uri} does not take {what} ({_describe_error(error)}). Nothing is lost: "
        f"it is kept in {folder}, and `cion track sync` sends it later."
    )


def _describe_error(error: Exception) -> str:
    """One of MLflow's errors in a line."""
    if getattr(error, "error_code", "") in UNAUTHORISED:
        name_and_password = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        return f"it wants MLFLOW_TRACKING_TOKEN, or {name_and_password}"
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"
