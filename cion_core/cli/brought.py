"""The command `cion model add`: to bring a model."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated

import typer

from cion_core.cli.models import MODELS
from cion_core.cli.shell import errors
from cion_core.errors import CionError

SOURCE = "an ONNX file, a file of weights, hf:ORG/NAME, or a name of timm"
MEAN = "per channel, of images scaled to 0..1; for values 0..255: 0,0,0, and 0.00392157 each as std"
Triple = tuple[float, float, float]


def add(
    source: Annotated[str, typer.Argument(metavar="FILE", help=SOURCE)],
    name: Annotated[
        str,
        typer.Option(help="of the folder below models/, for embed.model and --model"),
    ],
    architecture: Annotated[
        str | None,
        typer.Option(
            show_default="found from the keys",
            help="a backbone's name, for a file of weights",
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(metavar="R,G,B", show_default="ImageNet's", help=MEAN),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option(metavar="R,G,B", show_default="ImageNet's"),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", show_default="the file's, or 256x128"),
    ] = None,
    bgr: Annotated[bool, typer.Option("--bgr", help="the model takes blue first")] = False,
    tracklets: Annotated[
        Path,
        typer.Option(help="of your own people, to try it on"),
    ] = Path("data/tracklets"),
) -> None:
    """Bring a model: write models/NAME, look for mistakes, and try it on your own tracklets.

    It is tried with each of the usual ways to prepare images.
    """
    with errors("model add"):
        from cion_core.deploy import adding
        from cion_core.embed.bring import Overrides

        asked = Overrides(
            architecture,
            _read_triple(mean, "--mean"),
            _read_triple(std, "--std"),
            _read_size(size),
            bgr,
        )
        folder = MODELS / _check_name(name)
        embedder = adding.add_model(source, folder, asked)
        height, width = embedder.size
        typer.echo(f"{folder}: {embedder.dim} numbers a feature, from images of {height}x{width}")
        for line in adding.judge_model(embedder, tracklets):
            typer.echo(line)


def _check_name(text: str) -> str:
    """The name of a folder, which must not lead out of models/."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text):
        raise CionError(f"--name {text}: a folder's name; letters, digits, _ . and - are valid")
    return text


def _read_triple(text: str | None, option: str) -> Triple | None:
    """Three numbers of the command line; those of --std must be above 0."""
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    is_valid = len(values) == 3 and all(map(math.isfinite, values))
    if is_valid and option == "--std":
        is_valid = min(values) > 0
    if not is_valid:
        form = "three numbers with commas between them, such as 0.485,0.456,0.406"
        raise CionError(f"{option} {text}: {form}")
    return values


def _read_size(text: str | None) -> tuple[int, int] | None:
    """Height and width of the command line."""
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not found:
        raise CionError(f"--size {text}: height x width in pixels, such as 256x128")
    return int(found[1]), int(found[2])


def register(app: typer.Typer) -> None:
    """Add the command to `cion`."""
    group = typer.Typer(help="Models of your own.", no_args_is_help=True)
    group.command()(add)
    app.add_typer(group, name="model")
