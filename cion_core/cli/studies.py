"""The command `cion study`, and those of the stages in studies/dvc.yaml."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from cion_core.cli import shell
from cion_core.cli.shell import errors, stage

PIPELINE = "studies/dvc.yaml"
Study = Annotated[str, typer.Argument(help="scale, denoising or few")]
Point = Annotated[str, typer.Argument(help="one of the study's points, such as 0.1")]


def study(
    name: Annotated[str | None, typer.Argument(help="a study; none: which there are")] = None,
    show: Annotated[bool, typer.Option("--show", help="print the table that there is, and run nothing")] = False,
) -> None:
    """Run a study of studies/params.yaml through DVC, from where it stands, and print its table.

    What is done is not done again; a killed study goes on when it is run again.
    """
    from cion_core.studies import settings, summary
    from cion_core.studies.files import load
    from cion_core.studies.kinds import STUDIES

    with errors("study"):
        if name is None:
            typer.echo("\n".join(f"{one.name:<12} {one.about}" for one in STUDIES.all()))
            return
        settings.make_study(name, shell.project.load())  # before anything is run
        if not show and (ended := reproduce(name)):
            raise typer.Exit(ended)
        reports = Path("data/reports")
        typer.echo(summary.to_markdown(load(reports / f"studies/{name}.json")))
        typer.echo(
            f"\n{reports / f'studies/{name}.svg'} is the picture; {reports / 'index.html'} has both after `dvc repro`"
        )


def reproduce(name: str) -> int:
    """`dvc repro` of a study; its exit code."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # where `cion` is
    command = [sys.executable, "-m", "dvc", "repro", f"{PIPELINE}:{name}"]
    return subprocess.run(command, env=os.environ | {"PATH": path}).returncode


def study_data(name: Study, point: Point, seed: Annotated[int, typer.Argument(min=0)] = 0) -> None:
    """Lay out what a training of one point of a study is to see, into data/studies."""
    from cion_core.studies import stage as room

    with stage(f"study-data-{name}-{point}-{seed}") as p:
        room.lay_out(p, name, point, seed)


def study_point(
    name: Study,
    point: Point,
    method: Annotated[str, typer.Argument(help="of pretrain.methods")],
    seed: Annotated[int, typer.Argument(min=0)],
) -> None:
    """Train and evaluate one method at one point of a study; resumes where it was killed."""
    from cion_core.studies import stage as room

    with stage(f"study-{name}-{point}-{method}-{seed}") as p:
        room.train(p, name, point, method, seed)


def study_table(name: Study) -> None:
    """All points of a study as a table and a picture, into data/reports/studies."""
    from cion_core.studies import stage as room

    with stage(f"study-table-{name}") as p:
        room.collect(p, name)


def register(app: typer.Typer) -> None:
    """Add these commands to `cion`; those of DVC's stages are not listed."""
    app.command()(study)
    for command in (study_data, study_point, study_table):
        app.command(hidden=True)(command)
