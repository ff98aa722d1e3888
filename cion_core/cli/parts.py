"""The commands `cion parts`, what params.yaml can name, and `cion doctor`, what is installed."""

from __future__ import annotations

import typer

from cion_core.cli.shell import errors


def parts() -> None:
    """List all parts that come with the project, such as detectors and pre-training methods."""
    from cion_core.project import KINDS

    with errors("parts"):
        for kind in KINDS:
            typer.echo(f"{kind.title}s ({kind.key}); to add one, see {kind.home}.base")
            for part in kind.all():
                typer.echo(f"  {part.name:<16} {part.about}")


def doctor() -> None:
    """What is installed, what is wrong with it, and what to do; exit code 1 if something is."""
    from cion_core.doctor.checks import examine

    is_wrong = False
    for finding in examine():
        typer.echo(str(finding))
        is_wrong = is_wrong or finding.remedy is not None
    if is_wrong:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add these commands to `cion`."""
    app.command()(parts)
    app.command()(doctor)
