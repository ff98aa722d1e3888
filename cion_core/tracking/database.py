"""MLflow's SQLite file: made whole or not at all, and with the paths of the folder it lies in.

MLflow makes its tables in dozens of steps. Two processes that begin at once, or one that is killed,
leave a file that no MLflow can open again. So the file is made under a lock, beside its place, and
is then renamed.

MLflow also writes absolute paths into it. They are corrected here when the file is found in another
folder, because the project was moved or copied.
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

# The folder of files, beside the database.
ARTIFACTS = "mlruns"
# A tag of the experiment "Default": the folder that the file lay in. It is set last of all, so a
# database that has it is whole.
FOLDER_TAG = "cion.folder"
# How long to wait for another process that makes the file, which takes about ten seconds.
WAIT_SECONDS = 60
SQLITE_HEADER = b"SQLite format 3\0"
# What follows the name of the file itself, and of what SQLite keeps beside it.
SQLITE_SUFFIXES = ("", "-journal", "-wal", "-shm")
# (table, column) of every absolute path that MLflow writes for runs and models.
PATH_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def find_file(uri: str) -> Path | None:
    """The file of a SQLite URI, such as mlflow.db of `sqlite:///mlflow.db`; else None."""
    path = uri.removeprefix("sqlite:///")
    is_sqlite = path != uri
    # What follows a question mark are settings for SQLite, which we do not know.
    if not is_sqlite or not path or "?" in path:
        return None
    return Path(path)


def make_absolute(uri: str) -> str:
    """A URI that stays true when the process goes to another folder.

    MLflow keeps what it has once opened, and would look for it in the new folder. In a URI a
    question mark ends the path, so a folder with one in its name cannot be named: there the URI
    stays relative.
    """
    file = find_file(uri)
    if file is None or "?" in str(file.absolute()):
        return uri
    return f"sqlite:///{file.absolute()}"


def find_artifact_location(uri: str, experiment: str) -> str | None:
    """Where the files of a new experiment go: beside the database; None lets a server choose.

    Returns:
        A URI and not a path, for in a path MLflow takes `%20` for a space.
    """
    file = find_file(uri)
    if file is None:
        return None
    folder_name = re.sub(r"[^\w.-]+", "-", experiment)
    return f"{file.parent.resolve().as_uri()}/{ARTIFACTS}/{folder_name}"


def find_local_path(location: str) -> str | None:
    """The path that MLflow means on this machine; None if files are in a store or on a server."""
    if location.startswith("file://"):
        return unquote(location.removeprefix("file://"))
    return location if location.startswith("/") else None


def prepare(uri: str) -> None:
    """Make the database of a SQLite URI usable: whole, with paths of the folder where it is.

    Args:
        uri: any tracking URI; nothing happens unless it names a SQLite file.

    Raises:
        OSError: the file cannot be written, is no SQLite database, another process makes it for
            over a minute, or it holds runs and this MLflow cannot open it.
        sqlite3.Error, MlflowException, SQLAlchemyError: another process holds the database; the
            disk is full.
    """
    file = find_file(uri)
    if file is None:
        return
    absolute_uri = make_absolute(uri)
    with filelock.FileLock(f"{file}.lock", timeout=WAIT_SECONDS):
        if not file.exists() or file.stat().st_size == 0:
            _create(file, absolute_uri)
        _refuse_foreign(file)
        if _recorded_folder(file) is None:
            _complete(file, absolute_uri)
        _correct_paths(file)


def _create(file: Path, uri: str) -> None:
    """Make the file beside its place, then rename it."""
    # What a process left there that was killed.
    for leftover in file.parent.glob(f"{glob.escape(file.name)}.new-*"):
        leftover.unlink()
    # MLflow keeps connections by name, even to a file that is gone. So the name is new each time.
    suffix = f".new-{uuid.uuid4().hex[:8]}"
    _create_tables(f"{uri}{suffix}", file.parent.resolve())
    file.with_name(f"{file.name}{suffix}").replace(file)


def _create_tables(uri: str, folder: Path) -> None:
    """Let MLflow make or complete all tables of a database; then note the folder of its paths."""
    store = SqlAlchemyStore(uri, f"{folder.as_uri()}/{ARTIFACTS}")
    tag = ExperimentTag(FOLDER_TAG, str(folder))
    try:
        store.set_experiment_tag(SqlAlchemyStore.DEFAULT_EXPERIMENT_ID, tag)
    finally:
        store.engine.dispose()


def _refuse_foreign(file: Path) -> None:
    """OSError where the file is something else than a SQLite database."""
    with open(file, "rb") as opened:
        header = opened.read(len(SQLITE_HEADER))
    if header != SQLITE_HEADER:
        advice = "move it away, or name another in MLFLOW_TRACKING_URI"
        raise OSError(f"{file} is no SQLite database; {advice}")


def _recorded_folder(file: Path) -> str | None:
    """The folder that the database says it lies in; None where nobody noted that it is whole."""
    query = "SELECT value FROM experiment_tags WHERE experiment_id = 0 AND key = ?"
    found = _query_damaged(file, query, FOLDER_TAG)
    return found[0][0] if found else None


def _complete(file: Path, uri: str) -> None:
    """Complete a database that MLflow made by itself.

    One that is broken is set aside and made again, if it holds no run.

    Raises:
        OSError: it is broken, and holds runs.
    """
    # Another spelling of the same path, so that MLflow keeps its connection apart from that of
    # `uri`: if this fails, the file behind it is replaced (see `_create`).
    other_spelling = f"sqlite:///{file.absolute().parent}/./{file.name}"
    folder = _find_artifact_folder(file) or file.parent.resolve()
    try:
        _create_tables(other_spelling, folder)
    except Exception as error:
        # Any error, for MLflow's steps fail in many ways on tables that they do not expect.
        if _holds_runs(file):
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:100]
            state = f"which holds runs and is left as it is ({reason})"
            raise OSError(f"MLflow cannot open {file}, {state}") from error
        aside = _set_aside(file)
        state = f"was only half made ({type(error).__name__}) and holds no run"
        say(f"{file} {state}: set aside as {aside}, made again")
        _create(file, uri)


def _set_aside(file: Path) -> Path:
    """Rename a database, and the files beside it: SQLite would apply them to a new database."""
    aside = file.with_name(f"{file.name}.broken-{datetime.now():%Y%m%d-%H%M%S-%f}")
    for suffix in SQLITE_SUFFIXES:
        companion = Path(f"{file}{suffix}")
        if companion.exists():
            companion.rename(f"{aside}{suffix}")
    return aside


def _find_artifact_folder(file: Path) -> Path | None:
    """The folder that holds the files of the experiment "Default", in mlruns/0 or mlartifacts/0."""
    query = "SELECT artifact_location FROM experiments WHERE experiment_id = 0"
    found = _query_damaged(file, query)
    location = (found[0][0] or "") if found else ""
    path = find_local_path(location) or ""
    match = re.fullmatch(r"(/.*)/(?:mlruns|mlartifacts)/0", path)
    return Path(match[1]) if match else None


def _holds_runs(file: Path) -> bool:
    return bool(_query_damaged(file, "SELECT 1 FROM runs LIMIT 1"))


def _correct_paths(file: Path) -> None:
    """Correct the paths of a database that was moved or copied with its folder."""
    recorded = _recorded_folder(file)
    folder = file.parent.resolve()
    if recorded in (None, str(folder)):
        return
    new_start = f"{folder.as_uri()}/"
    # All in one transaction.
    with closing(sqlite3.connect(file)) as connection, connection:
        # MLflow writes a path or a URI.
        for old_folder in (recorded, Path(recorded).as_uri()):
            old_start = f"{old_folder}/"
            length = len(old_start)
            for table, column in PATH_COLUMNS:
                # SQL counts letters from 1, so the rest of a path begins at length + 1.
                update = f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                where = f"WHERE substr({column}, 1, ?) = ?"
                values = (new_start, length + 1, length, old_start)
                connection.execute(f"{update} {where}", values)
        connection.execute(
            "UPDATE experiment_tags SET value = ? WHERE experiment_id = 0 AND key = ?",
            (str(folder), FOLDER_TAG),
        )


def _query_damaged(file: Path, query: str, *values: str) -> list[tuple]:
    """The rows that a query finds; none where a table or a page of the file is missing.

    Raises:
        sqlite3.OperationalError: another process holds the database, so nothing is known of it.
    """
    try:
        with closing(sqlite3.connect(file)) as connection:
            return connection.execute(query, values).fetchall()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            raise
        return []
