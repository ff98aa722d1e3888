"""The commands around models: what there is, and what to do with one."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cion_core.benchmark.layouts import LAYOUTS
from cion_core.cli.shell import errors
from cion_core.deploy.formats import SUFFIX, Format
from cion_core.errors import CionError, printable

MODELS = Path("models")
MEAN = "per channel of images scaled to 0..1; 0,0,0 and a std of 0.00392157 each (1/255) mean values 0..255"


def zoo(
    models: Annotated[list[str] | None, typer.Argument(help="names; by default the 32 of the zoo")] = None,
    latency: Annotated[bool, typer.Option("--latency", help="time one image on this CPU; minutes for all 32")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="print docs/zoo.md")] = False,
) -> None:
    """The backbones: parameters, FLOPs, features, weights below models/, and published results."""
    from cion_core.deploy import table
    from cion_core.zoo import names

    with errors("zoo"):
        rows = list(table.rows(models or names.ZOO, MODELS, latency))
        typer.echo(table.markdown(rows) if markdown else table.text(rows), nl=not markdown)


Folder = Annotated[Path, typer.Argument(metavar="MODEL", help="a model folder, such as data/finetune/cion-resnet50")]


def export(
    model: Folder,
    to: Annotated[Format | None, typer.Option(help="what to write; timm where timm has the architecture")] = None,
    hub: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="write a folder for the Hugging Face hub: model card, config, weights"),
    ] = None,
    out: Annotated[Path | None, typer.Option(show_default="exports/NAME", help="the file or folder")] = None,
    fused: Annotated[bool, typer.Option("--fused", help="normalise inside: RGB 0..1 in, unit features out")] = False,
    opset: Annotated[
        int, typer.Option(help="of onnx; runtimes of the last two years load the default, older ones want less")
    ] = 18,
    crops: Annotated[
        list[Path] | None,
        typer.Option(show_default="rendered people", help="images, or a folder of them, on which it must agree"),
    ] = None,
    benchmark: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="of labelled people: learn there when `cion search` finds nobody"),
    ] = None,
    layout: Annotated[str, typer.Option(help=f"of --benchmark: {', '.join(LAYOUTS.names())}")] = "market1501",
    licence: Annotated[str, typer.Option(help="of the weights, for the card")] = "",
    register: Annotated[
        bool,
        typer.Option("--register", help="into MLflow, as champion of each benchmark where it passes the gate"),
    ] = False,
) -> None:
    """Hand a model on: written, loaded again, compared with the model, and kept only if both agree."""
    with errors("export"):
        if (to is None) == (hub is None):
            raise CionError("name one: --to onnx, torchscript, safetensors or timm; or --hub DIR")
        from cion_core import rendered, zoo
        from cion_core.deploy import crops as images
        from cion_core.deploy import export as room
        from cion_core.deploy import provenance
        from cion_core.embed.model import located

        model = located(model)
        network, card = zoo.load(model)
        card = provenance.of(model, card, licence)
        if benchmark:
            from cion_core.deploy import search as searching
            from cion_core.embed.model import load_embedder

            learnt = searching.learn(load_embedder(model), benchmark, layout)
            card = replace(card, extra={**card.extra, searching.KEY: learnt})
        if hub:
            from cion_core.deploy import hub as publishing

            publishing.write(network, card, hub)
            typer.echo(f"{hub}: upload it with `hf upload ORG/{card.name} {hub}`")
        else:
            out = out or Path("exports") / (card.name + SUFFIX[to])
            seen = images.read(crops) if crops else rendered.people(16)
            said = room.export(network, card, to, out, seen, fused, opset)
            typer.echo(printable(f"{out}: agrees with {model}"))
            if said:
                typer.echo(f"{out}: {said}")
        if register:
            _register(model, network, card)


def _register(folder: Path, network, card) -> None:
    from cion_core import work
    from cion_core.deploy import export, sanity
    from cion_core.tracking import registry
    from cion_core.zoo.store import FILE

    wrong = sanity.check(network, card)
    deployed = export.deployed(network, card, fused=False)
    done = registry.register(deployed, card.image, card.known, work.sha256(folder / FILE), wrong)
    typer.echo(f"MLflow: {registry.NAME}, version {done.version}")
    for benchmark in done.champion:
        typer.echo(f"champion of {benchmark}")
    for benchmark, reason in done.refused.items():
        typer.echo(f"not champion of {benchmark}: {reason}")


def search(
    query: Annotated[Path, typer.Argument(help="an image of a person")],
    gallery: Annotated[Path, typer.Option(help="a folder of images, at any depth")],
    model: Annotated[Path, typer.Option(metavar="FOLDER", help="a model folder")],
    top: Annotated[int, typer.Option(min=1, help="how many images to show")] = 10,
    out: Annotated[Path | None, typer.Option(metavar="FILE.html", help="write the list as a page, too")] = None,
) -> None:
    """The images of a gallery that look most like a query, nearest first, and whether anybody is there at all.

    "Nobody" is an answer of models that were exported with --benchmark.
    """
    with errors("search"):
        from cion_core import work
        from cion_core.deploy import search as room

        if out and out.is_dir():
            raise CionError(f"{out}: it is a folder; name a file")
        answer = room.search(query, gallery, model, top)
        typer.echo(room.text(answer))
        if out:
            with work.atomic(out) as temporary:
                temporary.write_text(room.page(answer))


def sanity(model: Folder) -> None:
    """Whether a model's weights did anything, and whether its card prepares images as in training."""
    with errors("sanity"):
        from cion_core.deploy import sanity as room

        if wrong := room.of_folder(model):
            raise CionError(f"{model}: " + "; ".join(wrong))
        typer.echo(printable(f"{model}: nothing wrong found"))


model_app = typer.Typer(help="Models of your own.", no_args_is_help=True)


@model_app.command()
def add(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="an ONNX file, a file of weights, hf:ORG/NAME, or a name of timm")
    ],
    name: Annotated[str, typer.Option(help="of the folder below models/, for embed.model and --model")],
    architecture: Annotated[
        str | None, typer.Option(show_default="found from the keys", help="a backbone's name, for a file of weights")
    ] = None,
    mean: Annotated[str | None, typer.Option(metavar="R,G,B", show_default="ImageNet's", help=MEAN)] = None,
    std: Annotated[str | None, typer.Option(metavar="R,G,B", show_default="ImageNet's")] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", show_default="the file's, or 256x128")] = None,
    bgr: Annotated[bool, typer.Option("--bgr", help="the model takes blue first")] = False,
    tracklets: Annotated[Path, typer.Option(help="of your own people, to try it on")] = Path("data/tracklets"),
) -> None:
    """Bring a model: write models/NAME, look for mistakes, and try the likely preparations on your own tracklets."""
    with errors("model add"):
        from cion_core.deploy import adding
        from cion_core.embed.bring import Preparation

        asked = Preparation(architecture, _triple(mean, "--mean"), _triple(std, "--std"), _size(size), bgr)
        folder = MODELS / _name(name)
        embedder = adding.add(source, folder, asked)
        typer.echo(f"{folder}: {embedder.dim} numbers a feature, from images of {embedder.size[0]}x{embedder.size[1]}")
        for line in adding.judged(embedder, tracklets):
            typer.echo(line)


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text):
        raise CionError(f"--name {text}: a folder's name; letters, digits, _ . and - are valid")
    return text


def _triple(text: str | None, option: str) -> tuple[float, float, float] | None:
    """Three numbers of the command line."""
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3 or not all(map(math.isfinite, values)) or (option == "--std" and min(values) <= 0):
        raise CionError(f"{option} {text}: three numbers with commas between them, such as 0.485,0.456,0.406")
    return values


def _size(text: str | None) -> tuple[int, int] | None:
    """Height and width of the command line."""
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not found:
        raise CionError(f"--size {text}: height x width in pixels, such as 256x128")
    return int(found[1]), int(found[2])


def register(app: typer.Typer) -> None:
    """Add these commands to `cion`."""
    app.add_typer(model_app, name="model")
    for command in (zoo, export, search, sanity):
        app.command()(command)
