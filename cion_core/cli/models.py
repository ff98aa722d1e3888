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
EXPORTS = Path("exports")
# Rendered people on which an export must agree, where the user names no images.
RENDERED_PEOPLE = 16

ModelFolder = Annotated[
    Path,
    typer.Argument(metavar="MODEL", help="a model folder, such as data/finetune/cion-resnet50"),
]
OPSET = "of onnx; runtimes of the last two years load the default, older ones want less"
BENCHMARK = "of labelled people: learn there when `cion search` finds nobody"
REGISTER = "into MLflow, as champion of each benchmark where it passes the gate"


def zoo(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="names; by default the 32 of the zoo"),
    ] = None,
    latency: Annotated[
        bool,
        typer.Option("--latency", help="time one image on this CPU; minutes for all 32"),
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="print docs/zoo.md")] = False,
) -> None:
    """The backbones: parameters, FLOPs, features, weights below models/, and published results."""
    from cion_core.deploy import table
    from cion_core.zoo import names

    with errors("zoo"):
        rows = list(table.describe_backbones(models or names.ZOO, MODELS, latency))
        if markdown:
            # The page ends with a new line of its own.
            typer.echo(table.to_markdown(rows), nl=False)
        else:
            typer.echo(table.to_text(rows))


def export(
    model: ModelFolder,
    to: Annotated[
        Format | None,
        typer.Option(help="what to write; timm where timm has the architecture"),
    ] = None,
    hub: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="write a folder for the Hugging Face hub: model card, config, weights",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(show_default="exports/NAME", help="the file or folder"),
    ] = None,
    fused: Annotated[
        bool,
        typer.Option("--fused", help="normalise inside: RGB 0..1 in, unit features out"),
    ] = False,
    opset: Annotated[int, typer.Option(help=OPSET)] = 18,
    crops: Annotated[
        list[Path] | None,
        typer.Option(
            show_default="rendered people",
            help="images, or a folder of them, on which it must agree",
        ),
    ] = None,
    benchmark: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help=BENCHMARK),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(help=f"of --benchmark: {', '.join(LAYOUTS.names())}"),
    ] = "market1501",
    licence: Annotated[str, typer.Option(help="of the weights, for the card")] = "",
    register: Annotated[bool, typer.Option("--register", help=REGISTER)] = False,
) -> None:
    """Hand a model on: written, loaded again, and kept only if it agrees with the model."""
    with errors("export"):
        if (to is None) == (hub is None):
            formats = "onnx, torchscript, safetensors or timm"
            raise CionError(f"name one: --to {formats}; or --hub DIR")
        from cion_core import zoo
        from cion_core.deploy import provenance
        from cion_core.embed.model import locate

        folder = locate(model)
        network, card = zoo.load(folder)
        card = provenance.complete_card(folder, card, licence)
        if benchmark:
            card = _add_threshold(folder, card, benchmark, layout)
        if hub:
            from cion_core.deploy.hub import write_folder

            write_folder(network, card, hub)
            typer.echo(f"{hub}: upload it with `hf upload ORG/{card.name} {hub}`")
        else:
            file = out or EXPORTS / (card.name + SUFFIX[to])
            opencv = _export(network, card, to, file, crops, fused, opset)
            typer.echo(printable(f"{file}: agrees with {folder}"))
            if opencv:
                typer.echo(f"{file}: {opencv}")
        if register:
            _register(folder, network, card)


def _add_threshold(folder: Path, card, benchmark: Path, layout: str):
    """The card with what `cion search` needs to answer "nobody"."""
    from cion_core.deploy import search
    from cion_core.embed.model import load_embedder

    threshold = search.learn_threshold(load_embedder(folder), benchmark, layout)
    return replace(card, extra={**card.extra, search.CARD_KEY: threshold})


def _export(
    network,
    card,
    to: Format,
    out: Path,
    crops: list[Path] | None,
    fused: bool,
    opset: int,
) -> str:
    """Write another format; return what there is to say of OpenCV."""
    from cion_core import rendered
    from cion_core.deploy.export import export
    from cion_core.deploy.named_images import read_images

    images = read_images(crops) if crops else rendered.people(RENDERED_PEOPLE)
    return export(network, card, to, out, images, fused, opset)


def _register(folder: Path, network, card) -> None:
    """Make a model a version in MLflow's registry, and say what became of it."""
    from cion_core import work
    from cion_core.deploy import graphs, sanity
    from cion_core.tracking import model_registry
    from cion_core.zoo.store import FILE

    faults = sanity.check_network(network, card)
    deployable = graphs.make_deployable(network, card, fused=False)
    weights = work.sha256(folder / FILE)
    registered = model_registry.register(deployable, card.image, card.known, weights, faults)
    typer.echo(f"MLflow: {model_registry.NAME}, version {registered.version}")
    for benchmark in registered.champion_of:
        typer.echo(f"champion of {benchmark}")
    for benchmark, reason in registered.refused.items():
        typer.echo(f"not champion of {benchmark}: {reason}")


def search(
    query: Annotated[Path, typer.Argument(help="an image of a person")],
    gallery: Annotated[Path, typer.Option(help="a folder of images, at any depth")],
    model: Annotated[Path, typer.Option(metavar="FOLDER", help="a model folder")],
    top: Annotated[int, typer.Option(min=1, help="how many images to show")] = 10,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="write the list as a page, too"),
    ] = None,
) -> None:
    """The images of a gallery that look most like a query, nearest first, and whether it is there.

    "Nobody" is an answer of models that were exported with --benchmark.
    """
    with errors("search"):
        from cion_core import work
        from cion_core.deploy import answers
        from cion_core.deploy.search import search as find

        if out and out.is_dir():
            raise CionError(f"{out}: it is a folder; name a file")
        answer = find(query, gallery, model, top)
        typer.echo(answers.to_text(answer))
        if out:
            page = answers.to_page(answer)
            with work.atomic(out) as temporary:
                temporary.write_text(page, encoding="utf-8")


def sanity(model: ModelFolder) -> None:
    """Whether a model's weights did anything, and its card prepares images as in training."""
    with errors("sanity"):
        from cion_core.deploy.sanity import check_model

        faults = check_model(model)
        if faults:
            raise CionError(f"{model}: {'; '.join(faults)}")
        typer.echo(printable(f"{model}: nothing wrong found"))


def register(app: typer.Typer) -> None:
    """Add these commands to `cion`."""
    for command in (zoo, export, search, sanity):
        app.command()(command)
