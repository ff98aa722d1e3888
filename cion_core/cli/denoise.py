"""The commands `cion denoise`, a stage of the pipeline or all levels on files of one's own, and `cion identities`."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from cion_core import config, tables
from cion_core.cli.shell import errors, stage
from cion_core.denoise.linking.rules import RULES
from cion_core.denoise.settings import Settings

Level = StrEnum("Level", tables.LEVELS)
file = partial(typer.Option, rich_help_panel="Files of your own, without LEVEL")
knob = partial(typer.Option, rich_help_panel="Knobs, without LEVEL (those of the stages are in params.yaml)")
bound = partial(knob, max=2, show_default="from the data")

CROPS = (
    "a table (.parquet, .csv) of crop, video, frame, tracklet, and perhaps x1 y1 x2 y2, confidence, sharpness and "
    "path; MOT-challenge text, one VIDEO.txt or SEQUENCE/gt/gt.txt, or a folder of them; or a folder of images, "
    "VIDEO/TRACKLET/FRAME.jpg or LUPerson-NL's COUNTRY/CITY/VIDEO/PERSON_FRAME_DETECTION.jpg"
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
CLASS = (
    "the number of people where MOT text tells classes in its eighth column; may be given several times. 1 are "
    "pedestrians in MOT16 to MOT20 and in VisDrone; people who do not walk are 7 in MOT, and 2 in VisDrone"
)
RADIUS = "how far a crop may lie from its identity's other crops {}: a cosine distance, above 0 and up to 2"
SEPARATION = "identities closer than this are one person {}, above 0 and up to 2"
WITHIN, ACROSS = "within a video", "across videos"
CUT = "score of unlikeness of a tracklet's two parts from which on it is cut, above 0 and up to 4; 4: never cut"
LINKED = f"{ACROSS}: a cosine distance, but in reciprocal linking one of neighbourhoods, up to 1"
RANGE = "tracklets compared at once across videos, from 2; by default as many as the memory holds, which mostly is all"
STRIDE = "tracklets by which the range moves on; from 1, below --sliding-range"
RATE = (
    "for thresholds from the data: share of strange crops reckoned with; in published linking wrong links per tracklet "
    "(reciprocal linking asks for none); above 0 and below 1"
)
SET = "one of the settings that --linking RULE has, such as reciprocal.centre=false; may be given several times"
THRESHOLDS = (
    "tracklet_cut", "tracklet_radius", "video_radius", "cross_video_radius",
    "video_separation", "cross_video_separation",
)  # fmt: skip
IDLE = (*THRESHOLDS, "sliding_range", "stride", "false_link_rate")  # with --earlier


def above_zero(value: float | None) -> float | None:
    """typer's own bounds include their ends."""
    if value is not None and value <= 0:
        raise typer.BadParameter("must be above 0")
    return value


def share(value: float) -> float:
    """Neither all nor nothing."""
    if not 0 < value < 1:
        raise typer.BadParameter("must be above 0 and below 1")
    return value


limit = partial(bound, callback=above_zero)


def denoise(
    ctx: typer.Context,
    level: Annotated[Level | None, typer.Argument(help="the stage to run, by params.yaml; not with options")] = None,
    crops: Annotated[Path | None, file(metavar="WHAT", help=CROPS)] = None,
    features: Annotated[Path | None, file(metavar="FILE.npy", help=FEATURES)] = None,
    model: Annotated[Path | None, file(metavar="FOLDER", help=MODEL)] = None,
    out: Annotated[Path | None, file(metavar="FOLDER", help=OUT)] = None,
    earlier: Annotated[Path | None, file(metavar="FOLDER", help=EARLIER)] = None,
    people: Annotated[list[int] | None, file("--class", metavar="N", show_default="1", help=CLASS)] = None,
    tracklet_cut: Annotated[float | None, limit(max=4, help=CUT)] = None,
    tracklet_radius: Annotated[float | None, limit(help=RADIUS.format("in its tracklet"))] = None,
    video_radius: Annotated[float | None, limit(help=RADIUS.format(WITHIN))] = None,
    cross_video_radius: Annotated[float | None, limit(help=RADIUS.format(ACROSS), show_default="no bound")] = None,
    video_separation: Annotated[float | None, limit(help=SEPARATION.format(f"{WITHIN}: a cosine distance"))] = None,
    cross_video_separation: Annotated[float | None, limit(help=SEPARATION.format(LINKED))] = None,
    linking: Annotated[
        str, knob(help=f"the rule {ACROSS}: {', '.join(RULES.names())}, or an import path")
    ] = "reciprocal",
    own: Annotated[list[str] | None, knob("--set", metavar="RULE.KEY=VALUE", help=SET)] = None,
    sliding_range: Annotated[int | None, knob(min=2, show_default="by memory", help=RANGE)] = None,
    stride: Annotated[int | None, knob(min=1, show_default="half the range", help=STRIDE)] = None,
    cannot_link: Annotated[bool, knob(help="whether two tracklets seen in one frame are different people")] = True,
    false_link_rate: Annotated[float, knob(callback=share, help=RATE)] = 0.05,
    min_crops: Annotated[int, knob(min=1, help="a tracklet with fewer crops left is dropped; from 1")] = 1,
) -> None:
    """Crops to identities: one denoising level of the pipeline, or all three on files of your own.

    `cion denoise LEVEL` is the DVC stage, by params.yaml, into data/denoise/LEVEL.
    `cion denoise --crops WHAT --features FILE.npy --out FOLDER` takes tracklets from elsewhere.
    """
    given = [name for name in ctx.params if ctx.get_parameter_source(name).name == "COMMANDLINE" and name != "level"]
    if level:
        if given:
            raise typer.BadParameter(f"{level.value} goes by params.yaml; {_option(given[0])} is without LEVEL")
        from cion_core.denoise import stage as room

        with stage(f"denoise-{level.value}", "denoise") as p:
            room.run(p.denoise, level.value, p.runtime)
        return
    if not (crops and out):
        raise typer.BadParameter(f"needed is LEVEL ({', '.join(Level)}), or both --crops and --out")
    if stride and stride >= (sliding_range or 0):
        raise typer.BadParameter(
            f"--stride {stride} must be below --sliding-range, which is {sliding_range or 'not given'}"
        )
    if earlier and (idle := [name for name in IDLE if name in given]):
        raise typer.BadParameter(
            f"{_option(idle[0])} has no say with --earlier: thresholds are the earlier call's, and what is new is "
            "compared with all"
        )
    from cion_core.external import command
    from cion_core.external.mot_lines import PEDESTRIAN

    values = {
        "radius": _thresholds(tracklet=tracklet_radius, video=video_radius, cross_video=cross_video_radius),
        "cut": _thresholds(tracklet=tracklet_cut),
        "separation": _thresholds(video=video_separation, cross_video=cross_video_separation),
        "false_link_rate": false_link_rate,
        "min_crops": min_crops,
        "linking": linking,
        "range": sliding_range or "auto",
        "stride": stride or "auto",
        "cannot_link": cannot_link,
        **_own(linking, own or []),
    }
    with errors("denoise"):
        checked = config.checked(values, Settings, "options")
        command.run(crops, out, features, model, earlier, checked, classes=people or (PEDESTRIAN,))


def identities(
    confidence: Annotated[float, typer.Option(min=0, max=1, help="the least probability of a link to be right")],
    root: Annotated[
        Path, typer.Option(metavar="FOLDER", help="that the stages wrote, or the --out of `cion denoise --crops`")
    ] = Path("data"),
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.parquet", help="write crop and identity; without, only say")
    ] = None,
) -> None:
    """The identities of a finished run, of links that are at least so sure; nothing is linked again."""
    from cion_core.denoise import identities as room

    with errors("identities"):
        typer.echo(room.run(root, confidence, out))


def _option(name: str) -> str:
    return {"own": "--set", "people": "--class"}.get(name) or f"--{name.replace('_', '-')}"


def _thresholds(**levels: float | None) -> dict[str, float | str]:
    return {level: value or "auto" for level, value in levels.items()}


def _own(rule: str, settings: list[str]) -> dict[str, Any]:
    """A linking rule's section: of "a.b" and ["a.b.c=1"] it is {"a": {"b": {"c": 1}}}; values as YAML reads them."""
    section: dict[str, Any] = {}
    for text in settings:
        path, equals, value = text.partition("=")
        name, _, key = path.rpartition(".")
        if not equals or name != rule:
            raise typer.BadParameter(f"--set {text}: must be {rule}.KEY=VALUE, since --linking is {rule}")
        try:
            section[key] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError):  # the latter of a date that there is not
            raise typer.BadParameter(f"--set {text}: {value} is no value that YAML can read") from None
    for name in reversed(rule.split(".")):
        section = {name: section}
    return section


def register(app: typer.Typer) -> None:
    """Add these commands to `cion`."""
    app.command()(denoise)
    app.command()(identities)
