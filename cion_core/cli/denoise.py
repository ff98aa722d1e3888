"""The commands `cion denoise`, as a stage or on files of one's own, and `cion identities`."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from cion_core import config, tables
from cion_core.cli.shell import errors, stage
from cion_core.denoise.linking.rules import RULES
from cion_core.denoise.settings import Settings
from cion_core.errors import CionError

Level = StrEnum("Level", tables.LEVELS)

# What the help says of the options.
LEVEL = "the stage to run, by params.yaml; not with options"
CROPS = (
    "a table (.parquet, .csv) of crop, video, frame, tracklet, and perhaps x1 y1 x2 y2, "
    "confidence, sharpness and path; MOT-challenge text, one VIDEO.txt or SEQUENCE/gt/gt.txt, "
    "or a folder of them; or a folder of images, VIDEO/TRACKLET/FRAME.jpg or LUPerson-NL's "
    "COUNTRY/CITY/VIDEO/PERSON_FRAME_DETECTION.jpg"
)
FEATURES = "numbers [N, D], one row per row of the table, line or image; files and images by name"
MODEL = "instead of features, for images: the model folder that embeds them, such as models/stripes"
OUT = (
    "identities.parquet, ledger.parquet, audit.json; annotations.json in CION-AL's form if the "
    "images are known; mot/VIDEO.txt if MOT text came in; features.npy with --model; and what "
    "--earlier needs"
)
EARLIER = (
    "the OUT of an earlier call for some of these crops. They are not denoised again: the new "
    "videos are linked to its identities, at its thresholds. The same folder as --out, or "
    "another. Crops and tracklets must have kept their numbers, so new text or images must come "
    "last by name"
)
CLASS = (
    "the number of people where MOT text tells classes in its eighth column; may be given several "
    "times. 1 are pedestrians in MOT16 to MOT20 and in VisDrone; people who do not walk are 7 in "
    "MOT, and 2 in VisDrone"
)
WITHIN = "within a video"
ACROSS = "across videos"
CUT = "a tracklet is cut where its parts are so unlike; a score above 0 and up to 4; 4: never cut"
RADIUS = "how far a crop may lie from its identity's others {}: a cosine distance, above 0, up to 2"
SEPARATION = "identities closer than this are one person {}, above 0 and up to 2"
COSINE = f"{WITHIN}: a cosine distance"
LINKED = f"{ACROSS}: a cosine distance, but in reciprocal linking one of neighbourhoods, up to 1"
LINKING = f"the rule {ACROSS}: {', '.join(RULES.names())}, or an import path"
SET = "a setting of --linking RULE, such as reciprocal.centre=false; may be given several times"
RANGE = "tracklets compared at once across videos, from 2; by default as many as the memory holds"
STRIDE = "tracklets by which the range moves on; from 1, below --sliding-range"
CANNOT_LINK = "whether two tracklets seen in one frame are different people"
RATE = (
    "for thresholds from the data: the share of strange crops that is expected; in published "
    "linking, wrong links per tracklet (reciprocal linking needs none); above 0 and below 1"
)
MIN_CROPS = "a tracklet with fewer crops left is dropped; from 1"
CONFIDENCE = "the least probability of a link to be right"
ROOT = "that the stages wrote, or the --out of `cion denoise --crops`"

THRESHOLDS = (
    "tracklet_cut",
    "tracklet_radius",
    "video_radius",
    "cross_video_radius",
    "video_separation",
    "cross_video_separation",
)
# Options that would do nothing with --earlier.
IDLE_WITH_EARLIER = (*THRESHOLDS, "sliding_range", "stride", "false_link_rate")
# Options that are called otherwise than the arguments of `denoise`.
OPTION_NAMES = {"own": "--set", "people": "--class"}


def check_above_zero(value: float | None) -> float | None:
    """Refuse 0, since typer's own bounds include their ends."""
    if value is not None and value <= 0:
        raise typer.BadParameter("must be above 0")
    return value


def check_share(value: float) -> float:
    """Refuse what is not between 0 and 1."""
    if not 0 < value < 1:
        raise typer.BadParameter("must be above 0 and below 1")
    return value


# Options in the two panels of the help.
OWN_FILES = "Files of your own, without LEVEL"
SETTINGS = "Knobs, without LEVEL (those of the stages are in params.yaml)"
file = partial(typer.Option, rich_help_panel=OWN_FILES)
setting = partial(typer.Option, rich_help_panel=SETTINGS)
# Most thresholds are distances, of which 2 is the largest.
threshold = partial(setting, max=2, show_default="from the data", callback=check_above_zero)


def denoise(
    ctx: typer.Context,
    level: Annotated[Level | None, typer.Argument(help=LEVEL)] = None,
    crops: Annotated[Path | None, file(metavar="WHAT", help=CROPS)] = None,
    features: Annotated[Path | None, file(metavar="FILE.npy", help=FEATURES)] = None,
    model: Annotated[Path | None, file(metavar="FOLDER", help=MODEL)] = None,
    out: Annotated[Path | None, file(metavar="FOLDER", help=OUT)] = None,
    earlier: Annotated[Path | None, file(metavar="FOLDER", help=EARLIER)] = None,
    people: Annotated[
        list[int] | None,
        file("--class", metavar="N", show_default="1", help=CLASS),
    ] = None,
    tracklet_cut: Annotated[float | None, threshold(max=4, help=CUT)] = None,
    tracklet_radius: Annotated[
        float | None,
        threshold(help=RADIUS.format("in its tracklet")),
    ] = None,
    video_radius: Annotated[float | None, threshold(help=RADIUS.format(WITHIN))] = None,
    cross_video_radius: Annotated[
        float | None,
        threshold(help=RADIUS.format(ACROSS), show_default="no bound"),
    ] = None,
    video_separation: Annotated[float | None, threshold(help=SEPARATION.format(COSINE))] = None,
    cross_video_separation: Annotated[
        float | None,
        threshold(help=SEPARATION.format(LINKED)),
    ] = None,
    linking: Annotated[str, setting(help=LINKING)] = "reciprocal",
    own: Annotated[
        list[str] | None,
        setting("--set", metavar="RULE.KEY=VALUE", help=SET),
    ] = None,
    sliding_range: Annotated[
        int | None,
        setting(min=2, show_default="by memory", help=RANGE),
    ] = None,
    stride: Annotated[
        int | None,
        setting(min=1, show_default="half the range", help=STRIDE),
    ] = None,
    cannot_link: Annotated[bool, setting(help=CANNOT_LINK)] = True,
    false_link_rate: Annotated[float, setting(callback=check_share, help=RATE)] = 0.05,
    min_crops: Annotated[int, setting(min=1, help=MIN_CROPS)] = 1,
) -> None:
    """Crops to identities: one denoising level of the pipeline, or all three on your own files.

    `cion denoise LEVEL` is the DVC stage, by params.yaml, into data/denoise/LEVEL.
    `cion denoise --crops WHAT --features FILE.npy --out FOLDER` takes tracklets from elsewhere.
    """
    given = _find_given(ctx)
    if level:
        if given:
            option = _option_name(given[0])
            rule = f"goes by params.yaml; {option} is without LEVEL"
            raise typer.BadParameter(f"{level.value} {rule}")
        _run_stage(level.value)
        return

    # 1. Options that do not fit together.
    if not (crops and out):
        levels = ", ".join(Level)
        raise typer.BadParameter(f"needed is LEVEL ({levels}), or both --crops and --out")
    if stride and stride >= (sliding_range or 0):
        size = sliding_range or "not given"
        rule = f"must be below --sliding-range, which is {size}"
        raise typer.BadParameter(f"--stride {stride} {rule}")
    idle = [name for name in IDLE_WITH_EARLIER if name in given]
    if earlier and idle:
        raise typer.BadParameter(
            f"{_option_name(idle[0])} cannot be used with --earlier: thresholds are the earlier "
            "call's, and what is new is compared with all"
        )

    # 2. The options as settings of denoising.
    from cion_core.external import command
    from cion_core.external.mot_lines import PEDESTRIAN

    values = {
        "radius": {
            "tracklet": tracklet_radius or "auto",
            "video": video_radius or "auto",
            "cross_video": cross_video_radius or "auto",
        },
        "cut": {"tracklet": tracklet_cut or "auto"},
        "separation": {
            "video": video_separation or "auto",
            "cross_video": cross_video_separation or "auto",
        },
        "false_link_rate": false_link_rate,
        "min_crops": min_crops,
        "linking": linking,
        "range": sliding_range or "auto",
        "stride": stride or "auto",
        "cannot_link": cannot_link,
        **_read_rule_settings(linking, own or []),
    }
    classes = people or (PEDESTRIAN,)
    with errors("denoise"):
        settings = config.checked(values, Settings, "options")
        command.run(crops, out, features, model, earlier, settings, classes=classes)


def identities(
    confidence: Annotated[float, typer.Option(min=0, max=1, help=CONFIDENCE)],
    root: Annotated[Path, typer.Option(metavar="FOLDER", help=ROOT)] = Path("data"),
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.parquet", help="write crop and identity; without, only say"),
    ] = None,
) -> None:
    """The identities of a finished run, of links that are at least so sure.

    Nothing is linked again.
    """
    from cion_core.denoise.identities import run

    with errors("identities"):
        typer.echo(run(root, confidence, out))


def _run_stage(level: str) -> None:
    """One level as the DVC stage."""
    from cion_core.denoise.stage import run

    with stage(f"denoise-{level}", "denoise") as params:
        run(params.denoise, level, params.runtime)


def _find_given(ctx: typer.Context) -> list[str]:
    """The arguments of `denoise` that the user has given, but for the level."""
    given = []
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if source.name == "COMMANDLINE" and name != "level":
            given.append(name)
    return given


def _option_name(argument: str) -> str:
    """What an argument of `denoise` is called on the command line."""
    usual = f"--{argument.replace('_', '-')}"
    return OPTION_NAMES.get(argument, usual)


def _read_rule_settings(rule: str, texts: list[str]) -> dict[str, Any]:
    """A linking rule's section of the settings, of what --set was given.

    Of the rule "a.b" and the texts ["a.b.c=1"] it is {"a": {"b": {"c": 1}}}.

    Args:
        rule: its name.
        texts: RULE.KEY=VALUE each; values as YAML reads them.
    """
    section: dict[str, Any] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        name, _, key = path.rpartition(".")
        if not equals or name != rule:
            form = f"must be {rule}.KEY=VALUE, since --linking is {rule}"
            raise typer.BadParameter(f"--set {text}: {form}")
        try:
            section[key] = config.parse_yaml(value, f"--set {text}")
        except CionError:
            fault = f"{value} is no value that YAML can read"
            raise typer.BadParameter(f"--set {text}: {fault}") from None
    for name in reversed(rule.split(".")):
        section = {name: section}
    return section


def register(app: typer.Typer) -> None:
    """Add these commands to `cion`."""
    app.command()(denoise)
    app.command()(identities)
