"""The commands around models: what there is, and what to do with one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cion_core.benchmark.layouts import LAYOUTS
from cion_core.cli.shell import errors
from cion_core.deploy.formats import SUFFIX, Format
from cion_core.errors import CionError, printable

MODELS = Path("models")


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
    to: Annotated[Format, typer.Option(help="what to write; timm where timm has the architecture")],
    out: Annotated[Path | None, typer.Option(show_default="exports/NAME", help="the file or folder")] = None,
    fused: Annotated[bool, typer.Option("--fused", help="normalise inside: RGB 0..1 in, unit features out")] = False,
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
        from cion_core import rendered, zoo
        from cion_core.deploy import crops as images
        from cion_core.deploy import export as room
        from cion_core.deploy import provenance

        network, card = zoo.load(model)
        card = provenance.of(model, card, licence)
        if benchmark:
            from cion_core.deploy import search as searching
            from cion_core.embed.model import load_embedder

            learnt = searching.learn(load_embedder(model), benchmark, layout)
            card = replace(card, extra={**card.extra, searching.KEY: learnt})
        out = out or Path("exports") / (card.name + SUFFIX[to])
        room.export(network, card, to, out, images.read(crops) if crops else rendered.people(16), fused)
        typer.echo(printable(f"{out}: agrees with {model}"))
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
        from cion_core import zoo
        from cion_core.deploy import sanity as room

        if wrong := room.check(*zoo.load(model)):
            raise CionError(f"{model}: " + "; ".join(wrong))
        typer.echo(printable(f"{model}: nothing wrong found"))


def register(app: typer.Typer) -> None:
    """Add these commands to `cion`."""
    for command in (zoo, export, search, sanity):
        app.command()(command)
