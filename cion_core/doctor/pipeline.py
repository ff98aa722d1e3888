"""Checks of the project in this folder: its settings, and DVC's view of its stages."""

from __future__ import annotations

import subprocess
import sys
from configparser import ConfigParser
from configparser import Error as ConfigError
from pathlib import Path

from cion_core import params, project
from cion_core.doctor.findings import Finding, version
from cion_core.errors import CionError

DVC_SECONDS = 60.0  # that `dvc` has


def settings(about: str) -> Finding:
    """Whether params.yaml is valid, in our words: DVC reads it first, and has its own."""
    try:
        found = project.load(params.FILE)
    except CionError as error:
        first, *rest = str(error).splitlines()
        lines = [first.rstrip(":"), *(line.strip() for line in rest)]
        return Finding(about, "not valid", "; ".join(lines))
    methods = ", ".join(found.pretrain.methods)
    text = f"valid: videos of {found.ingest.source}, {found.embed.model}, pre-trained by {methods}"
    return Finding(about, text)


def dvc(about: str) -> Finding:
    """Whether dvc.yaml can be read, what is done, and where outputs go."""
    if not Path("dvc.yaml").is_file():
        return Finding(
            about, f"{version('dvc')}, no dvc.yaml here", "run it in the project's folder"
        )
    if not Path(".dvc").is_dir():
        return Finding(
            about,
            f"{version('dvc')}, no folder .dvc",
            "run `dvc init`, or `git clone` the project anew",
        )
    command = [sys.executable, "-m", "dvc", "stage", "list", "--name-only"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=DVC_SECONDS)
    if listed.returncode:
        return Finding(
            about,
            f"{version('dvc')} cannot read the pipeline: {_last_line(listed.stderr)}",
            "mend params.yaml first, if it is not valid; then dvc.yaml",
        )
    stages = len(listed.stdout.split())
    lock = "a dvc.lock" if Path("dvc.lock").is_file() else "no dvc.lock yet"
    remotes = _remotes()
    remote = "no remote: outputs stay on this machine"
    if remotes:
        remote = f"remote {', '.join(remotes)}"
    return Finding(about, f"{version('dvc')}, {stages} stages, {lock}, {remote}")


def _remotes() -> list[str]:
    """The names of DVC's remotes in this project."""
    names = []
    for file in (Path(".dvc/config"), Path(".dvc/config.local")):
        parser = ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(file)
        except ConfigError:
            continue
        names += [section.split('"')[1] for section in parser.sections() if section.count('"') == 2]
    return sorted(set(names))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("ERROR")]
    return (lines or ["it gives no reason"])[-1].removeprefix("ERROR: ")
