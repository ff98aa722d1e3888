"""The commands of the DVC stages (denoising has its own file), and of looking at what they left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cion_core.cli import shell
from cion_core.cli.shell import errors, stage
from cion_core.errors import printable
from cion_core.pretrain.methods import METHODS
from cion_core.zoo.card import FROZEN

Method = Annotated[str, typer.Argument(help=f"{', '.join(METHODS.names())}, or the import path of yours")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="a run of finetune.runs")]
Backbone = Annotated[str, typer.Argument(help="a backbone of pretrain.backbones")]


def listing() -> None:
    """List what lies outside DVC's sight, into data/listing: your files, and the parts that params.yaml names."""
    from cion_core import listing as room

    with stage("list") as p:
        room.run(p)


def ingest() -> None:
    """Render the demo world, or probe a folder of videos, into data/raw."""
    from cion_core.ingest import stage as room

    with stage("ingest", "ingest") as p:
        room.run(p.ingest, p.runtime)


def extract() -> None:
    """Videos to tracklets: detect, track, cut crops, into data/tracklets."""
    from cion_core.extract import stage as room

    with stage("extract", "extract") as p:
        room.run(p.extract, p.runtime)


def embed(
    images: Annotated[list[Path] | None, typer.Argument(help="images or folders of them; none: the DVC stage")] = None,
    model: Annotated[Path | None, typer.Option(metavar="FOLDER", help="with IMAGES: a model folder")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="with IMAGES: .parquet or .npy")] = None,
) -> None:
    """One feature per crop, into data/embeddings; or one per image of IMAGES, into a file."""
    if images or model or out:
        if not (images and model and out):
            raise typer.BadParameter("IMAGES, --model and --out go together; without all three it is the DVC stage")
        from cion_core.deploy import features

        with errors("embed"):
            typer.echo(printable(f"{out}: {features.write(images, model, out)} features by {model}"))
        return
    from cion_core.embed import stage as room

    with stage("embed", "embed") as p:
        room.run(p.embed, p.runtime)


def benchmark(name: Annotated[str, typer.Argument(help="one of benchmark.sources")]) -> None:
    """One labelled set: the demo's, or a folder in the layout that params.yaml names, into data/benchmark/NAME."""
    from cion_core.benchmark import stage as room

    with stage(f"benchmark-{name}", "benchmark") as p:
        room.run(p.benchmark, name, p.runtime)


def pretrain(
    method: Method,
    backbone: Backbone,
    plan: Annotated[bool, typer.Option("--plan", help="say what it will cost, and do nothing")] = False,
    processes: Annotated[int, typer.Option(min=1, help="with --plan: how many share a batch")] = 1,
    rate: Annotated[float | None, typer.Option(min=0.001, help="with --plan: crops per second of all of them")] = None,
    hours: Annotated[float, typer.Option(min=0.001, help="with --plan: what it may take")] = 8,
    crops: Annotated[int | None, typer.Option(min=1, help="with --plan: of other data than data/")] = None,
    identities: Annotated[int | None, typer.Option(min=1, help="with --plan and --crops: of equally many")] = None,
) -> None:
    """Pre-train one backbone with one method, into data/pretrain/METHOD-BACKBONE; resumes where it was killed.

    On several GPUs: torchrun --nproc-per-node N -m cion_core.cli pretrain METHOD BACKBONE
    """
    from cion_core.pretrain import plan as planning
    from cion_core.pretrain import stage as room

    with stage(f"pretrain-{method}-{backbone}", "pretrain") as p:
        if plan:
            counts = room.counts(method, crops, identities, p.pretrain.min_confidence)
            told = planning.plan(p.pretrain, method, backbone, counts, processes, p.runtime)
            typer.echo(told.text(rate, hours))
        else:
            room.run(p.pretrain, method, backbone, p.runtime)


def start(run: RunName) -> None:
    """Lay out what a run of fine-tuning begins with: images, numbers, models; into data/start/RUN."""
    from cion_core.finetune import start as room

    with stage(f"start-{run}", "finetune") as p:
        room.run(p.finetune, run)


def finetune(run: RunName, method: Method, backbone: Backbone) -> None:
    """Fine-tune one pre-trained backbone as a run of params.yaml says, into data/finetune/RUN/METHOD-BACKBONE.

    On several GPUs: torchrun --nproc-per-node N -m cion_core.cli finetune RUN METHOD BACKBONE
    """
    from cion_core.finetune import stage as room

    with stage(f"finetune-{run}-{method}-{backbone}", "finetune") as p:
        room.run(p.finetune, run, method, backbone, p.runtime)


def evaluate(
    benchmark: Annotated[str, typer.Argument(help="one of benchmark.sources")],
    method: Annotated[
        str, typer.Argument(help="a method of pretrain.methods, or a folder of models/, such as stripes")
    ],
    backbone: Annotated[str, typer.Argument(help="a backbone; none for a folder of models/")] = "",
    run: Annotated[str, typer.Option(help="of finetune.runs; none: as pre-training left it")] = FROZEN,
) -> None:
    """How well one model finds people: mAP, CMC, mINP and more, on one benchmark, into data/evaluate."""
    from cion_core.evaluate import stage as room

    with stage("-".join(["evaluate", benchmark, run, method, *filter(None, [backbone])]), "evaluate") as p:
        room.run(p.evaluate, benchmark, method, backbone, run, p.runtime)


def compare() -> None:
    """The comparison table, plots and the report, into data/reports."""
    from cion_core.report import stage as room

    with stage("compare") as p:
        room.run(p)


def show() -> None:
    """Print the comparison table and where to look next."""
    from cion_core.report import stage as room

    with errors("show"):
        room.show()


def why(
    crop: Annotated[int, typer.Argument(min=0, help="a crop's number, as in tracklets/crops.parquet")],
    root: Annotated[Path, typer.Option(help="the folder that the stages wrote")] = Path("data"),
) -> None:
    """Print why a crop is where it is: what each denoising level did with it, and what lies around it."""
    from cion_core.audit import explain, sentences

    with errors("why"):
        typer.echo(sentences.text(explain.run(crop, shell.project.load(shell.params.FILE, "denoise").denoise, root)))


def profile(
    name: Annotated[str, typer.Argument(help="a file of profiles/, without .yaml")],
) -> None:
    """Write a profile's settings into params.yaml, and print what changed."""
    from cion_core import profiles

    with errors("profile"):
        typer.echo("\n".join(profiles.apply(name)) or "nothing to change")


def sync() -> None:
    """Send to MLflow what could not be sent when it was recorded."""
    from cion_core import tracking

    with errors("track sync"):
        typer.echo(f"{tracking.sync()} runs sent")


def register(app: typer.Typer) -> None:
    """Add these commands to `cion`."""
    app.command("list")(listing)
    for command in (
        ingest,
        extract,
        embed,
        benchmark,
        pretrain,
        start,
        finetune,
        evaluate,
        compare,
        show,
        why,
        profile,
    ):
        app.command()(command)
    track = typer.Typer(help="MLflow records that wait on this machine.", no_args_is_help=True)
    track.command()(sync)
    app.add_typer(track, name="track")
