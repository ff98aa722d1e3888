"""MLflow's SQLite file: made whole or not at all, by one process, and true to the folder that it lies in.

MLflow makes its tables in dozens of steps. Two processes that begin at once, or one that is killed, leave a file that
no MLflow can open again. So the file is made under a lock, beside its place, and is then renamed. MLflow also
writes absolute paths into it. They are corrected here when the file is found in another folder: the project was
moved or copied.
"""

from __future__ import annotations

import glob
import re
import sqlite3
import uuid
from contextlib import closing
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

import filelock
from mlflow.entities import ExperimentTag
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from cion_core.progress import say

ARTIFACTS = "mlruns"  # the folder of files, beside the database
FOLDER_TAG = "cion.folder"  # of the experiment "Default": where the file lay; set last, so it means "whole"
WAIT_SECONDS = 60  # for another process that makes the file; that takes about ten
HEADER = b"SQLite format 3\0"
COMPANIONS = ("", "-journal", "-wal", "-shm")  # the file and what SQLite keeps beside it
LOCATIONS = (  # (table, column) of every absolute path that MLflow writes for runs and models
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def file_of(uri: str) -> Path | None:
    """The file of a SQLite URI, such as mlflow.db of `sqlite:///mlflow.db`; None for any other store."""
    path = uri.removeprefix("sqlite:///")
    return None if path == uri or not path or "?" in path else Path(path)


def absolute(uri: str) -> str:
    """A URI that stays true when the process goes to another folder: MLflow keeps what it has once opened.

    In a URI a question mark ends the path; below such a folder it stays relative.
    """
    file = file_of(uri)
    if file is None or "?" in str(file.absolute()):
        return uri
    return f"sqlite:///{file.absolute()}"


def artifact_location(uri: str, experiment: str) -> str | None:
    """Where the files of a new experiment go: beside the database, as a URI; None lets a server choose.

    A URI and not a path: in a path MLflow takes `%20` for a space.
    """
    if (file := file_of(uri)) is None:
        return None
    name = re.sub(r"[^\w.-]+", "-", experiment)
    return f"{file.parent.resolve().as_uri()}/{ARTIFACTS}/{name}"


def local_path(location: str) -> str | None:
    """The path that a location of MLflow's means on this machine; None if it is in a store or behind a server."""
    if location.startswith("file://"):
        return unquote(location.removeprefix("file://"))
    return location if location.startswith("/") else None


def prepare(uri: str) -> None:
    """Make the database of a SQLite URI usable: whole, and with its paths in the folder where it is.

    Args:
        uri: any tracking URI; nothing happens unless it names a SQLite file.

    Raises:
        OSError: the file cannot be written, is no SQLite database, another process makes it for over a minute, or
            it holds runs and this MLflow cannot open it.
        sqlite3.Error, MlflowException, SQLAlchemyError: another process holds the database; the disk is full.
    """
    file, uri = file_of(uri), absolute(uri)
    if file is None:
        return
    with filelock.FileLock(f"{file}.lock", timeout=WAIT_SECONDS):
        if not file.exists() or file.stat().st_size == 0:
            _make(file, uri)
        _refuse_foreign(file)
        if _recorded_folder(file) is None:
            _complete(file, uri)
        _relocate(file)


def _make(file: Path, uri: str) -> None:
    """Make the file beside its place, then rename it. What a killed process has left there is removed first."""
    for left in file.parent.glob(f"{glob.escape(file.name)}.new-*"):
        left.unlink()
    # A name of its own each time: MLflow keeps connections by name, also those to a file that is gone.
    suffix = f".new-{uuid.uuid4().hex[:8]}"
    _initialise(f"{uri}{suffix}", file.parent.resolve())
    file.with_name(f"{file.name}{suffix}").replace(file)


def _initialise(uri: str, folder: Path) -> None:
    """Let MLflow make, or complete, all tables of the database `uri`; note last of all the folder of its paths."""
    store = SqlAlchemyStore(uri, f"{folder.as_uri()}/{ARTIFACTS}")
    try:
        store.set_experiment_tag(SqlAlchemyStore.DEFAULT_EXPERIMENT_ID, ExperimentTag(FOLDER_TAG, str(folder)))
    finally:
        store.engine.dispose()


def _refuse_foreign(file: Path) -> None:
    with open(file, "rb") as opened:
        if opened.read(len(HEADER)) != HEADER:
            raise OSError(f"{file} is no SQLite database; move it away, or name another in MLFLOW_TRACKING_URI")


def _recorded_folder(file: Path) -> str | None:
    """The folder that the database says it lies in; None where nobody has noted that it is whole."""
    query = "SELECT value FROM experiment_tags WHERE experiment_id = 0 AND key = ?"
    try:
        found = _query(file, query, FOLDER_TAG)
    except sqlite3.DatabaseError as error:
        if _is_busy(error):
            raise
        return None
    return found[0][0] if found else None


def _complete(file: Path, uri: str) -> None:
    """Complete a database that MLflow made by itself; one that is broken is set aside if it holds no run."""
    other_spelling = f"sqlite:///{file.absolute().parent}/./{file.name}"  # kept apart if this fails; see `_make`
    try:
        _initialise(other_spelling, _folder_of_default(file) or file.parent.resolve())
    except Exception as error:  # MLflow's steps fail in any way on what they do not expect
        if _holds_runs(file):
            told = f"{type(error).__name__}: {error}".splitlines()[0][:100]
            raise OSError(f"MLflow cannot open {file}, which holds runs and is left as it is ({told})") from error
        aside = file.with_name(f"{file.name}.broken-{datetime.now():%Y%m%d-%H%M%S-%f}")
        for suffix in COMPANIONS:  # a journal must not be applied to the new file
            if Path(f"{file}{suffix}").exists():
                Path(f"{file}{suffix}").rename(f"{aside}{suffix}")
        say(f"{file} was only half made ({type(error).__name__}) and holds no run: set aside as {aside}, made again")
        _make(file, uri)


def _folder_of_default(file: Path) -> Path | None:
    """The folder whose mlruns/0 (or, of a server, mlartifacts/0) is the place of the experiment "Default"."""
    try:
        found = _query(file, "SELECT artifact_location FROM experiments WHERE experiment_id = 0")
    except sqlite3.DatabaseError as error:
        if _is_busy(error):
            raise
        return None
    location = (found[0][0] or "") if found else ""
    match = re.fullmatch(r"(/.*)/(?:mlruns|mlartifacts)/0", local_path(location) or "")
    return Path(match[1]) if match else None


def _holds_runs(file: Path) -> bool:
    try:
        return bool(_query(file, "SELECT 1 FROM runs LIMIT 1"))
    except sqlite3.DatabaseError as error:
        if _is_busy(error):
            raise
        return False  # no such table, or no such page


def _relocate(file: Path) -> None:
    """Correct the paths of a database that was moved or copied with its folder."""
    before, folder = _recorded_folder(file), file.parent.resolve()
    if before in (None, str(folder)):
        return
    with closing(sqlite3.connect(file)) as connection, connection:  # one transaction
        for old in (before, Path(before).as_uri()):  # MLflow writes the one or the other
            for table, column in LOCATIONS:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (f"{folder.as_uri()}/", len(old) + 2, len(old) + 1, f"{old}/"),
                )
        connection.execute(
            "UPDATE experiment_tags SET value = ? WHERE experiment_id = 0 AND key = ?", (str(folder), FOLDER_TAG)
        )


def _query(file: Path, query: str, *values: str) -> list[tuple]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(query, values).fetchall()


def _is_busy(error: sqlite3.DatabaseError) -> bool:
    """Whether another process holds the database; then nothing is known of it."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
