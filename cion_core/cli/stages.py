"""The command `cion`: one subcommand per DVC stage, each a thin call into its room."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cion_core import params, tables, work
from cion_core.cli import models as commands
from cion_core.errors import CionError

app = typer.Typer(
    help="Raw videos to person re-identification backbones. `dvc repro` runs the stages in order.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
track = typer.Typer(help="MLflow records that wait on this machine.", no_args_is_help=True)
app.add_typer(track, name="track")
commands.register(app)

Level = StrEnum("Level", tables.LEVELS)
Method = Annotated[str, typer.Argument(help="lup, pnl, dino, tracklet, cion or random")]
Backbone = Annotated[str, typer.Argument(help="a backbone of pretrain.backbones")]
Linking = StrEnum("Linking", ("reciprocal", "published"))
file = partial(typer.Option, rich_help_panel="Files of your own, without LEVEL")
knob = partial(typer.Option, rich_help_panel="Knobs, without LEVEL (those of the stages are in params.yaml)")


@contextmanager
def stage(name: str) -> Iterator[params.Params]:
    """Validated params, and this stage's lock; a CionError ends the process with its message alone."""
    with commands.errors(name), work.exclusive(name):
        yield params.load()


@app.command()
def ingest() -> None:
    """Render the demo world, or probe and hash a folder of videos, into data/raw."""
    from cion_core.ingest import stage as room

    with stage("ingest") as p:
        room.run(p.ingest)


@app.command()
def extract() -> None:
    """Videos to tracklets: detect, track, cut crops, into data/tracklets."""
    from cion_core.extract import stage as room

    with stage("extract") as p:
        room.run(p.extract)


@app.command()
def embed(
    images: Annotated[list[Path] | None, typer.Argument(help="images or folders of them; none: the DVC stage")] = None,
    model: Annotated[Path | None, typer.Option(metavar="FOLDER", help="with IMAGES: a model folder")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="with IMAGES: .parquet or .npy")] = None,
) -> None:
    """One feature per crop, into data/embeddings; or one per image of IMAGES, into a file."""
    if images or model or out:
        if not (images and model and out):
            raise typer.BadParameter("IMAGES, --model and --out go together; without all three it is the DVC stage")
        return commands.embed(images, model, out)
    from cion_core.embed import stage as room

    with stage("embed") as p:
        room.run(p.embed)


CROPS = (
    "a table (.parquet, .csv) of crop, video, frame, tracklet, and perhaps x1 y1 x2 y2 and path; MOT-challenge text, "
    "one VIDEO.txt or SEQUENCE/gt/gt.txt, or a folder of them; or a folder of images, VIDEO/TRACKLET/FRAME.jpg or "
    "LUPerson-NL's COUNTRY/CITY/VIDEO/PERSON_FRAME_DETECTION.jpg"
)
FEATURES = "numbers [N, D], one row per row of the table, line or image; files and images in order of their names"
MODEL = "instead of features, for images: a model folder that embeds them (models/stripes), into OUT/features.npy"
OUT = (
    "identities.parquet, ledger.parquet, audit.json; annotations.json in CION-AL's form if the images are known; "
    "mot/VIDEO.txt if MOT text came in; and what --earlier needs"
)
EARLIER = (
    "the OUT of an earlier call for some of these crops, which are not denoised anew: the videos that were added are "
    "linked to its identities, at its thresholds; the same folder as --out, or another. Crops and tracklets must have "
    "kept their numbers, so text or images must come last by name if they are new"
)
AUTO = "from the data"
RADIUS = "how far a crop may lie from its identity's centroid, on every level: a cosine distance, above 0 and up to 2"
SEPARATION = (
    "identities closer than this are one person, on every level: above 0 and up to 2. Cosine distance within a video "
    "and in published linking; distance of neighbourhoods, up to 1, in reciprocal linking across videos"
)
LINKING = "across videos: reciprocal compares neighbourhoods, published joins all centroids closer than the separation"
RANGE = "identities compared at once across videos, from 2; by default as many as the memory holds, which mostly is all"
STRIDE = "identities by which the range moves on; from 1, below --sliding-range"
RATE = "for thresholds from the data (not reciprocal linking's): expected false links per tracklet, above 0 and up to 1"


def above_zero(value: float | None) -> float | None:
    if value is not None and value <= 0:
        raise typer.BadParameter("must be above 0")
    return value


@app.command()
def denoise(
    ctx: typer.Context,
    level: Annotated[Level | None, typer.Argument(help="the stage to run, by params.yaml; not with options")] = None,
    crops: Annotated[Path | None, file(metavar="WHAT", help=CROPS)] = None,
    features: Annotated[Path | None, file(metavar="FILE.npy", help=FEATURES)] = None,
    model: Annotated[Path | None, file(metavar="FOLDER", help=MODEL)] = None,
    out: Annotated[Path | None, file(metavar="FOLDER", help=OUT)] = None,
    earlier: Annotated[Path | None, file(metavar="FOLDER", help=EARLIER)] = None,
    radius: Annotated[float | None, knob(max=2, callback=above_zero, show_default=AUTO, help=RADIUS)] = None,
    separation: Annotated[float | None, knob(max=2, callback=above_zero, show_default=AUTO, help=SEPARATION)] = None,
    linking: Annotated[Linking, knob(help=LINKING)] = Linking.reciprocal,
    sliding_range: Annotated[int | None, knob(min=2, show_default="by memory", help=RANGE)] = None,
    stride: Annotated[int | None, knob(min=1, show_default="half the range", help=STRIDE)] = None,
    cannot_link: Annotated[bool, knob(help="whether two tracklets seen in one frame are different people")] = True,
    false_link_rate: Annotated[float, knob(max=1, callback=above_zero, help=RATE)] = 0.05,
    min_crops: Annotated[int, knob(min=1, help="a tracklet with fewer crops left is dropped; from 1")] = 1,
    centre: Annotated[bool, knob(help="whether to subtract each video's mean feature (reciprocal linking)")] = True,
) -> None:
    """Crops to identities: one denoising level of the pipeline, or all three on files of your own.

    `cion denoise LEVEL` is the DVC stage, by params.yaml, into data/denoise/LEVEL.
    `cion denoise --crops WHAT --features FILE.npy --out FOLDER` takes tracklets from elsewhere.
    """
    given = [name for name in ctx.params if ctx.get_parameter_source(name).name == "COMMANDLINE" and name != "level"]
    if level:
        if given:
            raise typer.BadParameter(
                f"{level.value} goes by params.yaml; --{given[0].replace('_', '-')} is without LEVEL"
            )
        from cion_core.denoise import stage as room

        with stage(f"denoise-{level.value}") as p:
            room.run(p.denoise, level.value)
        return
    if not (crops and out):
        raise typer.BadParameter(f"needed is LEVEL ({', '.join(Level)}), or both --crops and --out")
    if stride and stride >= (sliding_range or 0):
        raise typer.BadParameter(
            f"--stride {stride} must be below --sliding-range, which is {sliding_range or 'not given'}"
        )
    idle = [name for name in ("radius", "separation", "sliding_range", "stride", "false_link_rate") if name in given]
    if earlier and idle:
        raise typer.BadParameter(
            f"--{idle[0].replace('_', '-')} has no say with --earlier: thresholds are the earlier call's, and what is "
            "new is compared with all"
        )
    from cion_core.denoise import Noise
    from cion_core.external import command as files

    try:
        files.run(
            crops, out, features, model, earlier,
            noise=Noise(radius, separation), linking=linking.value, sliding_range=sliding_range, stride=stride,
            cannot_link=cannot_link, false_link_rate=false_link_rate, min_crops=min_crops, centre=centre,
        )  # fmt: skip
    except CionError as error:
        typer.secho(f"denoise: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None


@app.command()
def benchmark() -> None:
    """The labelled set: the demo's, or a folder in Market-1501's layout, into data/benchmark."""
    from cion_core.benchmark import stage as room

    with stage("benchmark") as p:
        room.run(p.benchmark)


@app.command()
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

    with stage(f"pretrain-{method}-{backbone}") as p:
        if plan:
            counts = room.counts(method, crops, identities)
            typer.echo(planning.plan(p.pretrain, method, backbone, counts, processes).text(rate, hours))
        else:
            room.run(p.pretrain, method, backbone)


@app.command()
def profile(
    name: Annotated[str, typer.Argument(help="a file of profiles/: demo, gpu-small, paper")],
) -> None:
    """Write a profile's settings into params.yaml, and print what changed."""
    from cion_core import profiles

    with commands.errors("profile"):
        typer.echo("\n".join(profiles.apply(name)) or "nothing to change")


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
def why(
    crop: Annotated[int, typer.Argument(min=0, help="a crop's number, as in tracklets/crops.parquet")],
    root: Annotated[Path, typer.Option(help="the folder that the stages wrote")] = Path("data"),
) -> None:
    """Print why a crop is where it is: what each denoising level did with it, and what lies around it."""
    from cion_core.audit import explain as room

    with commands.errors("why"):
        typer.echo(room.text(room.run(crop, params.load().denoise, root)))


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
