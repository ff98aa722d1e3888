"""mlflow.db: whole whoever makes it and however that ends, and at home in its folder."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from cion_core import tracking
from cion_core.errors import CionError
from cion_core.tracking import database, server

URI = "sqlite:///mlflow.db"
RECORD = """
import sys
from cion_core import tracking
with tracking.run("pretrain", sys.argv[1], "k", {}) as run:
    run.metrics({"loss": 1.0}, step=0)
"""


def record(name: str, project: Path) -> subprocess.Popen:
    """A process that records one run, as a stage does."""
    return subprocess.Popen(
        [sys.executable, "-c", RECORD, name], env=os.environ | {"PYTHONPATH": str(project)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def run_names() -> list[str]:
    """The runs of mlflow.db in this folder."""
    with closing(sqlite3.connect("mlflow.db")) as connection:
        return sorted(name for (name,) in connection.execute("SELECT name FROM runs"))


def half_made() -> list[Path]:
    return list(Path().glob("mlflow.db.new-*"))


def set_aside() -> list[Path]:
    return sorted(Path().glob("mlflow.db.broken-*"))


def test_processes_that_begin_at_once_share_one_database(place: Path, project: Path) -> None:
    processes = [record(name, project) for name in ("a", "b", "c")]
    for process in processes:
        said = process.communicate(timeout=300)[0]
        assert process.returncode == 0 and "MLflow at" not in said, said
    assert run_names() == ["pretrain a", "pretrain b", "pretrain c"]
    assert not set_aside() and not half_made()


def test_a_process_that_is_killed_while_it_makes_the_database_leaves_none(
    place: Path, project: Path, until: Callable
) -> None:
    with record("killed", project) as process:
        until(lambda: half_made() or process.poll() is not None, "the database to be begun")
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and not Path("mlflow.db").exists()
    assert tracking.sync() == 1, "what the killed process has recorded"
    assert not half_made()
    assert run_names() == ["pretrain killed"]


def keep_first_tables(cursor: sqlite3.Cursor) -> None:
    """As if MLflow had been killed behind its first tables."""
    for (table,) in cursor.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table'"
    ).fetchall():
        if table not in ("experiments", "runs", "metrics", "sqlite_sequence"):
            cursor.execute(f"DROP TABLE {table}")


def repeat_last_step(cursor: sqlite3.Cursor) -> None:
    """As if two had been at it: the tables are there, but the noted step is an earlier one."""
    cursor.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    cursor.execute("DROP TABLE experiment_tags")


@pytest.mark.parametrize("breaking", [keep_first_tables, repeat_last_step])
def test_a_half_made_database_is_set_aside_and_made_again(
    breaking: Callable, place: Path, capsys: pytest.CaptureFixture
) -> None:
    database.prepare(URI)
    with closing(sqlite3.connect("mlflow.db")) as connection, connection:
        breaking(connection.cursor())
    database.prepare(URI)
    assert "only half made" in capsys.readouterr().out
    assert len(set_aside()) == 1
    assert [found.name for found in server.connect().search_experiments()] == ["Default"]


def test_an_empty_file_is_no_database_yet(place: Path) -> None:
    Path("mlflow.db").touch()
    tracking.prepare_database()
    assert server.connect().get_experiment("0").name == "Default" and not set_aside()


def test_a_broken_database_that_holds_runs_is_left_alone(place: Path) -> None:
    database.prepare(URI)
    with closing(sqlite3.connect("mlflow.db")) as connection, connection:
        connection.execute("INSERT INTO runs (run_uuid, name) VALUES ('1', 'precious')")
        repeat_last_step(connection.cursor())
    with pytest.raises(CionError, match=r"holds runs and is left as it is"):
        tracking.prepare_database()
    assert run_names() == ["precious"] and not set_aside()


def test_a_file_that_is_no_database_is_named_and_left_alone(place: Path) -> None:
    Path("mlflow.db").write_text("my notes on MLflow")
    with pytest.raises(CionError, match=r"mlflow\.db is no SQLite database"):
        tracking.prepare_database()
    assert Path("mlflow.db").read_text() == "my notes on MLflow"


def with_artifact(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Record a run with a file in `folder`; its id."""
    monkeypatch.chdir(folder)
    Path("plot.svg").write_text(f"<svg>{folder.name}</svg>")
    with tracking.run("pretrain", folder.name.replace("%", "-"), "k", {}) as run:
        run.artifact("plot.svg")
    client = server.connect()
    (found,) = client.search_runs(
        [client.get_experiment_by_name("cion reproductions").experiment_id],
        order_by=["attributes.start_time DESC"], max_results=1,
    )  # fmt: skip
    return found.info.run_id


def kept_file(folder: Path, run: str) -> Path:
    """Where the database in `folder` says that the run's file lies."""
    database.prepare(f"sqlite:///{folder / 'mlflow.db'}")
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        (uri,) = connection.execute(
            "SELECT artifact_uri FROM runs WHERE run_uuid = ?", [run]
        ).fetchone()
    return Path(database.find_local_path(uri)) / "plot.svg"


@pytest.mark.parametrize("name", ["project", "50%20off", "a b#c%"])
def test_a_copied_project_keeps_its_own_files(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, copied = place / name, place / f"{name} copied"
    original.mkdir()
    first = with_artifact(original, monkeypatch)
    assert kept_file(original, first).read_text() == f"<svg>{name}</svg>"
    assert kept_file(original, first).is_relative_to(original)
    shutil.copytree(original, copied)
    shutil.rmtree(original / "mlruns")

    assert kept_file(copied, first).is_relative_to(copied)
    assert kept_file(copied, first).read_text() == f"<svg>{name}</svg>"
    second = with_artifact(copied, monkeypatch)
    assert kept_file(copied, second).is_relative_to(copied)
    assert not (original / "mlruns").exists(), "the copy has written into the original"


def test_a_database_that_an_earlier_version_has_made_moves_too(place: Path) -> None:
    before, after = place / "before", place / "after"
    before.mkdir()
    # Made as MLflow itself does it.
    store = SqlAlchemyStore(f"sqlite:///{before / 'mlflow.db'}", f"{before}/mlruns")
    run = store.create_run("0", "me", 0, [], "old").info.run_id
    store.engine.dispose()
    before.rename(after)
    assert kept_file(after, run) == after / f"mlruns/0/{run}/artifacts/plot.svg"
