"""The folder of plain files, and what a run says of its surroundings; no MLflow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cion_core.tracking import context
from cion_core.tracking.journal import Journal, find_journals, flatten, lock

ABOUT = {
    "kind": "pretrain",
    "name": "n",
    "key": "k",
    "reproduction": None,
    "params": {},
    "tags": {},
    "data": {},
}
FOLDER = Path(".cion/tracking/pretrain-n-k")


def losses(journal: Journal) -> list[tuple[int, float]]:
    return [(line["step"], line["metrics"]["loss"]) for line, _ in journal.read_metrics(0)]


class TestJournal:
    def test_steps_are_recorded_once_over_any_number_of_attempts(self, place: Path) -> None:
        for first, last in ((0, 4), (2, 6), (0, 3), (6, 8)):
            journal = Journal.begin(FOLDER, ABOUT)
            for step in range(first, last):
                journal.metrics({"loss": step}, step)
        assert losses(journal) == [(step, step) for step in range(8)]

    def test_a_torn_line_is_cut_off_and_recorded_again(self, place: Path) -> None:
        journal = Journal.begin(FOLDER, ABOUT)
        journal.metrics({"loss": 1.0}, 0)
        with open(FOLDER / "metrics.jsonl", "a") as file:
            file.write('{"time": 1, "step": 1, "metr')
        assert losses(journal) == [(0, 1.0)], "a reader waits for the whole line"
        journal = Journal.begin(FOLDER, ABOUT)
        journal.metrics({"loss": 2.0}, 1)
        assert losses(journal) == [(0, 1.0), (1, 2.0)]

    def test_another_metric_of_the_same_step_is_new(self, place: Path) -> None:
        journal = Journal.begin(FOLDER, ABOUT)
        journal.metrics({"loss": 1.0}, 3)
        journal.metrics({"loss": 9.0, "lr": 0.5}, 3)
        assert [line["metrics"] for line, _ in journal.read_metrics(0)] == [
            {"loss": 1.0},
            {"lr": 0.5},
        ]

    def test_reading_goes_on_where_it_ended(self, place: Path) -> None:
        journal = Journal.begin(FOLDER, ABOUT)
        journal.metrics({"loss": 1.0}, 0)
        ((_, offset),) = journal.read_metrics(0)
        journal.metrics({"loss": 2.0}, 1)
        assert [line["step"] for line, _ in journal.read_metrics(offset)] == [1]

    def test_an_unfinished_run_is_continued_and_a_finished_one_is_not(self, place: Path) -> None:
        first = Journal.begin(FOLDER, ABOUT | {"params": {"lr": "1"}})
        first.end("FAILED")
        second = Journal.begin(FOLDER, ABOUT | {"params": {"lr": "2", "device": "cpu"}})
        assert second.about["id"] == first.about["id"] and second.about["status"] == "RUNNING"
        assert second.about["params"] == {"lr": "1", "device": "cpu"}, (
            "MLflow's params do not change"
        )
        second.end("FINISHED")
        third = Journal.begin(FOLDER, ABOUT)
        assert third.about["id"] != first.about["id"]
        assert len(find_journals()) == 2, "the finished one waits to be sent"

    def test_a_files_stamp_changes_with_its_content(self, place: Path) -> None:
        journal = Journal.begin(FOLDER, ABOUT)
        Path("a.csv").write_text("1")
        journal.artifact("a.csv")
        journal.artifact("a.csv", folder="plots/deep")
        before = journal.find_files("artifacts")
        assert list(before) == ["a.csv", "plots/deep/a.csv"]
        Path("a.csv").write_text("22")
        journal.artifact("a.csv")
        after = journal.find_files("artifacts")
        assert (
            after["a.csv"] != before["a.csv"]
            and after["plots/deep/a.csv"] == before["plots/deep/a.csv"]
        )

    def test_a_table_is_json_in_mlflows_orientation(self, place: Path) -> None:
        journal = Journal.begin(FOLDER, ABOUT)
        journal.table(
            [{"method": "cion", "mAP": 1.5}, {"method": "lup", "mAP": None}], "evaluation.json"
        )
        written = json.loads((FOLDER / "tables/evaluation.json").read_text())
        assert written == {"columns": ["method", "mAP"], "data": [["cion", 1.5], ["lup", None]]}
        with pytest.raises(ValueError, match=r"evaluation\.csv"):
            journal.table([], "evaluation.csv")

    def test_a_lock_has_one_holder(self, place: Path) -> None:
        FOLDER.mkdir(parents=True)
        with lock(FOLDER) as first, lock(FOLDER, wait=False) as second:
            assert first and not second
        with lock(FOLDER, wait=False) as third:
            assert third


def test_nested_parameters_get_names_with_dots() -> None:
    nested = {"lr": 0.1, "head": {"out": 4, "deep": {"sizes": [1, 2]}, "none": {}}}
    assert flatten(nested) == {
        "lr": "0.1",
        "head.out": "4",
        "head.deep.sizes": "[1, 2]",
        "head.none": "{}",
    }
    assert flatten({}) == {}


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    return subprocess.run(
        ["git", *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_revision_and_whether_the_tree_is_dirty(place: Path) -> None:
    assert context.describe_revision() == {}
    git("init", "-q")
    assert context.describe_revision() == {}, "no commit yet"
    Path("code.py").write_text("1")
    git("add", "code.py")
    git("commit", "-qm", "One")
    assert context.describe_revision()["cion.revision"] == git("rev-parse", "HEAD")
    Path("dvc.lock").touch()
    Path("data/reports").mkdir(parents=True)
    Path("data/reports/metrics.json").touch()
    assert context.describe_revision()["cion.dirty"] == "false", (
        "a reproduction writes these itself"
    )
    Path("more.py").touch()
    assert context.describe_revision()["cion.dirty"] == "true"


def test_a_reproduction_is_a_dvc_process_and_the_data_are_what_dvc_knows(
    place: Path, project: Path
) -> None:
    assert context.find_reproduction() is None and context.find_data() == {}
    Path("look.py").write_text(
        f"import json, sys; sys.path.insert(0, {str(project)!r})\nfrom cion_core.tracking import "
        "context\nwith open(sys.argv[1], 'w') as file: json.dump([context.find_reproduction(), "
        "context.find_data()], file)\n"
    )
    pipeline = {
        "first": {"cmd": f"{sys.executable} look.py data/first.json", "outs": ["data/first.json"]},
        "second": {
            "cmd": f"{sys.executable} look.py data/second.json",
            "deps": ["look.py", "data/first.json"], "outs": ["data/second.json"],
        },
    }  # fmt: skip
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": pipeline}))
    Path("data").mkdir()
    git("init", "-q")
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "-q"], check=True)
    subprocess.run([*dvc, "repro", "-q"], check=True)
    one, two = (json.loads(Path(f"data/{name}.json").read_text()) for name in pipeline)
    subprocess.run([*dvc, "repro", "-q", "--force", "--single-item", "first"], check=True)
    other = json.loads(Path("data/first.json").read_text())
    assert one[0] and one[0] == two[0] != other[0]
    assert (
        one[1] == {}
        and list(two[1]) == ["data/first.json"]
        and len(two[1]["data/first.json"]) == 32
    )
