"""Runs that something else than a reproduction groups, such as a study."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cion_core import tracking
from cion_core.tracking import context, upload


def test_runs_inside_are_children_of_one_that_has_a_title(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    monkeypatch.setattr(upload, "upload_run", lambda journal, limit=0: sent.append(journal.about))
    monkeypatch.setenv("CION_REPRODUCTION", "tonight")
    with (
        tracking.group_runs("study-scale-1", "study scale"),
        tracking.run("study", "scale-0.1-cion-0", "k1", {}),
    ):
        pass
    with tracking.group_runs("study-scale-1", "study scale"):
        tracking.close_parent_run([{"mAP": 1.0}], None, {"mAP/cion": 1.0})
    parent = sent[-1]
    told = json.loads(next(Path(".cion/tracking").glob("study-*/run.json")).read_text())
    assert (told["reproduction"], told["title"]) == ("study-scale-1", "study scale")
    assert parent["id"] == "study-scale-1" and parent["reproduction"] is None
    assert upload.dated_title(parent).startswith("study scale 2")
    assert (context.find_reproduction(), context.reproduction_title()) == (
        "tonight",
        "reproduction",
    )
    assert (
        os.environ["CION_REPRODUCTION"] == "tonight" and "CION_REPRODUCTION_TITLE" not in os.environ
    )
