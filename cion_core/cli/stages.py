"""The commands of the DVC stages (denoising has its own file), and of looking at their results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cion_core import project
from cion_core.cli.shell import errors, stage
from cion_core.errors import printable
from cion_core.params import FILE
from cion_core.pretrain.methods import METHODS
from cion_core.zoo.card import FROZEN

METHOD_HELP = f"{', '.join(METHODS.names())}, or the import path of yours"
Method = Annotated[str, typer.Argument(help=METHOD_HELP)]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="a run of finetune.runs")]
Backbone = Annotated[str, typer.Argument(help="a backbone of pretrain.backbones")]
EVALUATED = "a method of pretrain.methods, or a folder of models/, such as stripes"


def listing() -> None:
    """List what DVC does not see, into data/listing: your files, and the parts in params.yaml."""
    from cion_core.listing import run

    with stage("list") as params:
        run(params)


def ingest() -> None:
    """Render the demo world, or probe a folder of videos, into data/raw."""
    from cion_core.ingest.stage import run

    with stage("ingest", "ingest") as params:
        run(params.ingest, params.runtime)


def extract() -> None:
    """Videos to tracklets: detect, track, cut crops, into data/tracklets."""
    from cion_core.extract.stage import run

    with stage("extract", "extract") as params:
        run(params.extract, params.runtime)


def embed(
    images: Annotated[
        list[Path] | None,
        typer.Argument(help="images or folders of them; none: the DVC stage"),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="with IMAGES: a model folder"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="with IMAGES: .parquet or .npy"),
    ] = None,
) -> None:
    """One feature per crop, into data/embeddings; or one per image of IMAGES, into a file."""
    if images or model or out:
        _embed_images(images, model, out)
        return
    from cion_core.embed.stage import run

    with stage("embed", "embed") as params:
        run(params.embed, params.runtime)


def _embed_images(images: list[Path] | None, model: Path | None, out: Path | None) -> None:
    """Write features of images that the user names."""
    if not (images and model and out):
        rule = "go together; without all three it is the DVC stage"
        raise typer.BadParameter(f"IMAGES, --model and --out {rule}")
    from cion_core.deploy.features import write_features

    with errors("embed"):
        count = write_features(images, model, out)
        typer.echo(printable(f"{out}: {count} features by {model}"))


def benchmark(
    name: Annotated[str, typer.Argument(help="one of benchmark.sources")],
) -> None:
    """One labelled set, of the demo or a folder in a layout, into data/benchmark/NAME."""
    from cion_core.benchmark.stage import run

    with stage(f"benchmark-{name}", "benchmark") as params:
        run(params.benchmark, name, params.runtime)


def pretrain(
    method: Method,
    backbone: Backbone,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="say what it will cost, and do nothing"),
    ] = False,
    processes: Annotated[
        int,
        typer.Option(min=1, help="with --plan: how many share a batch"),
    ] = 1,
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, help="with --plan: crops per second of all of them"),
    ] = None,
    hours: Annotated[
        float,
        typer.Option(min=0.001, help="with --plan: what it may take"),
    ] = 8,
    crops: Annotated[
        int | None,
        typer.Option(min=1, help="with --plan: of other data than data/"),
    ] = None,
    identities: Annotated[
        int | None,
        typer.Option(min=1, help="with --plan and --crops: of equally many"),
    ] = None,
) -> None:
    """Pre-train one backbone with one method, into data/pretrain/METHOD-BACKBONE.

    It resumes where it was killed. On several GPUs:
    torchrun --nproc-per-node N -m cion_core.cli pretrain METHOD BACKBONE
    """
    from cion_core.pretrain import plan as planning
    from cion_core.pretrain import stage as pretrain_stage

    with stage(f"pretrain-{method}-{backbone}", "pretrain") as params:
        settings = params.pretrain
        if not plan:
            pretrain_stage.run(settings, method, backbone, params.runtime)
            return
        counts = pretrain_stage.counts(method, crops, identities, settings.min_confidence)
        planned = planning.plan(settings, method, backbone, counts, processes, params.runtime)
        typer.echo(planned.text(rate, hours))


def start(run: RunName) -> None:
    """Lay out what a run of fine-tuning begins with, into data/start/RUN: images and models."""
    from cion_core.finetune import start as room

    with stage(f"start-{run}", "finetune") as params:
        room.run(params.finetune, run)


def finetune(run: RunName, method: Method, backbone: Backbone) -> None:
    """Fine-tune one pre-trained backbone, into data/finetune/RUN/METHOD-BACKBONE.

    The run of params.yaml says how. On several GPUs:
    torchrun --nproc-per-node N -m cion_core.cli finetune RUN METHOD BACKBONE
    """
    from cion_core.finetune import stage as room

    with stage(f"finetune-{run}-{method}-{backbone}", "finetune") as params:
        room.run(params.finetune, run, method, backbone, params.runtime)


def evaluate(
    benchmark: Annotated[str, typer.Argument(help="one of benchmark.sources")],
    method: Annotated[str, typer.Argument(help=EVALUATED)],
    backbone: Annotated[
        str,
        typer.Argument(help="a backbone; none for a folder of models/"),
    ] = "",
    run: Annotated[
        str,
        typer.Option(help="of finetune.runs; none: as pre-training left it"),
    ] = FROZEN,
) -> None:
    """How well a model finds people on a benchmark: mAP, CMC, mINP and more, into data/evaluate."""
    from cion_core.evaluate import stage as room

    name = f"evaluate-{benchmark}-{run}-{method}"
    if backbone:
        name = f"{name}-{backbone}"
    with stage(name, "evaluate") as params:
        room.run(params.evaluate, benchmark, method, backbone, run, params.runtime)


def compare() -> None:
    """The comparison table, plots and the report, into data/reports."""
    from cion_core.report.stage import run

    with stage("compare") as params:
        run(params)


def show() -> None:
    """Print the comparison table and where to look next."""
    from cion_core.report import stage as report_stage

    with errors("show"):
        report_stage.show()


def why(
    crop: Annotated[
        int,
        typer.Argument(min=0, help="a crop's number, as in tracklets/crops.parquet"),
    ],
    root: Annotated[Path, typer.Option(help="the folder that the stages wrote")] = Path("data"),
) -> None:
    """Print why a crop is where it is: what each denoising level did with it, and what is near."""
    from cion_core.audit import explain, sentences

    with errors("why"):
        settings = project.load(FILE, "denoise").denoise
        explanation = explain.run(crop, settings, root)
        typer.echo(sentences.text(explanation))


def profile(
    name: Annotated[str, typer.Argument(help="a file of profiles/, without .yaml")],
) -> None:
    """Write a profile's settings into params.yaml, and print what changed."""
    from cion_core import profiles

    with errors("profile"):
        changes = profiles.apply(name)
        typer.echo("\n".join(changes) or "nothing to change")


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
