"""The command `cion`: one subcommand per DVC stage, each a thin call into its room."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated

import typer

from cion_core import params, tables, work
from cion_core.errors import CionError

app = typer.Typer(
    help="Raw videos to person re-identification backbones. `dvc repro` runs the stages in order.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
track = typer.Typer(help="MLflow records that wait on this machine.", no_args_is_help=True)
app.add_typer(track, name="track")

Level = StrEnum("Level", tables.LEVELS)
Method = Annotated[str, typer.Argument(help="lup, dino, tracklet, cion or random")]
Backbone = Annotated[str, typer.Argument(help="a backbone of pretrain.backbones")]


@contextmanager
def stage(name: str) -> Iterator[params.Params]:
    """Validated params, and this stage's lock; a CionError ends the process with its message alone."""
    try:
        with work.exclusive(name):
            yield params.load()
    except CionError as error:
        typer.secho(f"{name}: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None


@app.command()
def ingest() -> None:
    """Render the demo world, or probe and hash a folder of videos, into data/raw."""
    from cion_core.extract import ingest as room

    with stage("ingest") as p:
        room.run(p.ingest)


@app.command()
def extract() -> None:
    """Videos to tracklets: detect, track, cut crops, into data/tracklets."""
    from cion_core.extract import stage as room

    with stage("extract") as p:
        room.run(p.extract)


@app.command()
def embed() -> None:
    """One feature per crop, into data/embeddings."""
    from cion_core.embed import stage as room

    with stage("embed") as p:
        room.run(p.embed)


@app.command()
def denoise(level: Level) -> None:
    """One denoising level: identities, ledger and audit, into data/denoise/LEVEL."""
    from cion_core.denoise import stage as room

    with stage(f"denoise-{level.value}") as p:
        room.run(p.denoise, level.value)


@app.command()
def benchmark() -> None:
    """The labelled set: the demo's, or a folder in Market-1501's layout, into data/benchmark."""
    from cion_core.evaluate import datasets as room

    with stage("benchmark") as p:
        room.run(p.benchmark)


@app.command()
def pretrain(method: Method, backbone: Backbone) -> None:
    """Pre-train one backbone with one method, into data/pretrain/METHOD-BACKBONE; resumes where it was killed."""
    from cion_core.pretrain import stage as room

    with stage(f"pretrain-{method}-{backbone}") as p:
        room.run(p.pretrain, method, backbone)


@app.command()
def finetune(method: Method, backbone: Backbone) -> None:
    """Fine-tune one pre-trained backbone on the benchmark's training people, into data/finetune."""
    from cion_core.finetune import stage as room

    with stage(f"finetune-{method}-{backbone}") as p:
        room.run(p.finetune, method, backbone)


@app.command()
def evaluate(
    method: Annotated[str, typer.Argument(help="a method of pretrain.methods, or stripes")],
    backbone: Annotated[str, typer.Argument(help="a backbone; none for stripes")] = "",
) -> None:
    """mAP, CMC and mINP of one model, frozen and fine-tuned, into data/evaluate."""
    from cion_core.evaluate import stage as room

    with stage("-".join(["evaluate", method, *filter(None, [backbone])])) as p:
        room.run(p.evaluate, method, backbone)


@app.command()
def compare() -> None:
    """The comparison table, plots and the report, into data/reports."""
    from cion_core.report import stage as room

    with stage("compare") as p:
        room.run(p)


@app.command()
def show() -> None:
    """Print the comparison table and where to look next."""
    from cion_core.report import stage as room

    try:
        room.show()
    except CionError as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None


@track.command()
def sync() -> None:
    """Send to MLflow what could not be sent when it was recorded."""
    from cion_core import tracking

    try:
        typer.echo(f"{tracking.sync()} runs sent")
    except CionError as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None


def main() -> None:
    """Entry point of `python -m cion_core.cli`."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    sys.exit(app())


if __name__ == "__main__":
    main()
