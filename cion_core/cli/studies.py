"""The command `cion study`, and those of the stages in studies/dvc.yaml."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from cion_core import project
from cion_core.cli.shell import errors, stage

PIPELINE = "studies/dvc.yaml"
REPORTS = Path("data/reports")
Study = Annotated[str, typer.Argument(help="its name; `cion study` lists all")]
Point = Annotated[str, typer.Argument(help="one of the study's points, such as 0.1")]


def study(
    name: Annotated[
        str | None,
        typer.Argument(help="a study; none: which there are"),
    ] = None,
    show: Annotated[
        bool,
        typer.Option("--show", help="print the table that there is, and run nothing"),
    ] = False,
) -> None:
    """Run a study of studies/params.yaml through DVC, from where it stands, and print its table.

    What is done is not done again; a killed study goes on when it is run again.
    """
    from cion_core.studies import settings, summary
    from cion_core.studies.files import load
    from cion_core.studies.kinds import STUDIES

    with errors("study"):
        if name is None:
            for kind in STUDIES.all():
                typer.echo(f"{kind.name:<12} {kind.about}")
            return
        # Finds wrong settings before anything is run.
        settings.make_study(name, project.load())
        if not show:
            exit_code = reproduce(name)
            if exit_code:
                raise typer.Exit(exit_code)
        table = load(REPORTS / f"studies/{name}.json")
        typer.echo(summary.to_markdown(table))
        picture = REPORTS / f"studies/{name}.svg"
        page = REPORTS / "index.html"
        typer.echo(f"\n{picture} is the picture; {page} has both after `dvc repro`")


def reproduce(name: str) -> int:
    """Run `dvc repro` of a study; return its exit code."""
    # The stages call `cion`, which lies beside this Python.
    own_programs = str(Path(sys.executable).parent)
    path = os.pathsep.join([own_programs, os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "dvc", "repro", f"{PIPELINE}:{name}"]
    done = subprocess.run(command, env=os.environ | {"PATH": path})
    return done.returncode


def study_data(
    name: Study,
    point: Point,
    seed: Annotated[int, typer.Argument(min=0)] = 0,
) -> None:
    """Lay out what a training of one point of a study is to see, into data/studies."""
    from cion_core.studies.stage import lay_out

    with stage(f"study-data-{name}-{point}-{seed}") as params:
        lay_out(params, name, point, seed)


def study_point(
    name: Study,
    point: Point,
    method: Annotated[str, typer.Argument(help="of pretrain.methods")],
    seed: Annotated[int, typer.Argument(min=0)],
) -> None:
    """Train and evaluate one method at one point of a study; resumes where it was killed."""
    from cion_core.studies.stage import train

    with stage(f"study-{name}-{point}-{method}-{seed}") as params:
        train(params, name, point, method, seed)


def study_table(name: Study) -> None:
    """All points of a study as a table and a picture, into data/reports/studies."""
    from cion_core.studies.stage import collect

    with stage(f"study-table-{name}") as params:
        collect(params, name)


def register(app: typer.Typer) -> None:
    """Add these commands to `cion`; those of DVC's stages are not listed in its help."""
    app.command()(study)
    for command in (study_data, study_point, study_table):
        app.command(hidden=True)(command)
