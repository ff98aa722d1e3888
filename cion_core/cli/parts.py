"""The command `cion parts`: what params.yaml can name."""

from __future__ import annotations

import typer

from cion_core.cli.shell import errors


def parts() -> None:
    """List all parts that come with the project, by kind, such as detectors and pre-training methods."""
    from cion_core.project import KINDS

    with errors("parts"):
        for kind in KINDS:
            typer.echo(f"{kind.title}s ({kind.key}); to add one, see {kind.home}.base")
            for part in kind.all():
                typer.echo(f"  {part.name:<16} {part.about}")


def register(app: typer.Typer) -> None:
    """Add this command to `cion`."""
    app.command()(parts)
