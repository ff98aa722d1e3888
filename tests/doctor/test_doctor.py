"""`cion doctor`: one finding for each thing, whatever is broken, and what to do about it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cion_core.doctor import checks, machine, pipeline, services
from cion_core.doctor.findings import Finding


def test_a_whole_project_has_a_line_for_each_check(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    findings = {
        check: checks.CHECKS[check](check)
        for check in ("python", "torch", "images", "video", "disk", "params")
    }
    assert [finding.about for finding in findings.values()] == list(findings)
    assert findings["params"].remedy is None and "videos of demo" in findings["params"].text
    assert "runs on cpu" in findings["torch"].text or "runs on cuda" in findings["torch"].text
    assert "h264" in findings["video"].text and "JPEG" in findings["images"].text


def test_what_is_broken_is_a_finding_and_the_rest_is_still_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(about: str) -> Finding:
        raise ImportError("libnone.so: no such file\nand more")

    monkeypatch.setattr(checks, "CHECKS", {"torch": broken, "disk": machine.disk})
    first, second = checks.examine()
    assert first.text == "does not work: libnone.so: no such file" and first.remedy
    assert second.about == "disk"


@pytest.mark.parametrize(
    ("name", "check"),
    [("MLFLOW_TRACKING_URI", services.mlflow), ("PREFECT_API_URL", services.prefect)],
)
def test_a_server_that_does_not_answer_is_named_without_its_password(
    name: str, check: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://me:secret@127.0.0.1:9")
    finding = check("server")
    assert "http://127.0.0.1:9: no answer (" in finding.text and name in finding.remedy
    assert "secret" not in str(finding)
    monkeypatch.delenv(name)
    assert check("server").remedy is None


def test_wrong_settings_are_told_in_our_words(workspace: Path, project: Path) -> None:
    text = (project / "params.yaml").read_text()
    (workspace / "params.yaml").write_text(text.replace("source: demo  ", "source: 2024  "))
    finding = pipeline.settings("params")
    assert finding.remedy == "params.yaml; ingest.source: must be text, found 2024"


def test_outside_of_a_project_it_says_so_and_ends_with_1(workspace: Path) -> None:
    assert pipeline.dvc("dvc").remedy == "run it in the project's folder"
    environment = {
        "PYTHONPATH": str(Path(checks.__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(
        [sys.executable, "-m", "cion_core.cli", "doctor"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert len([line for line in done.stdout.splitlines() if "->" not in line]) == len(
        checks.CHECKS
    )


def test_remotes_are_read_from_dvcs_settings(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".dvc").mkdir()
    Path("dvc.yaml").write_text("stages: {one: {cmd: 'true'}}\n")
    Path(".dvc/config").write_text(
        "[core]\n    no_scm = true\n['remote \"archive\"']\n    url = /tmp/archive\n"
    )
    finding = pipeline.dvc("dvc")
    assert finding.remedy is None and "1 stages, no dvc.lock yet, remote archive" in finding.text
    Path("dvc.yaml").write_text("stages: {one: {cmd: ['${nothing}']}}\n")
    assert "cannot read the pipeline" in pipeline.dvc("dvc").text
