"""The commands around models: what there is, and what to do with one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cion_core.errors import CionError

MODELS = Path("models")


@contextmanager
def errors(name: str) -> Iterator[None]:
    """A CionError ends the process with its message alone."""
    try:
        yield
    except CionError as error:
        typer.secho(f"{name}: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None


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


def register(app: typer.Typer) -> None:
    """Add these commands to `cion`."""
    for command in (zoo,):
        app.command()(command)
