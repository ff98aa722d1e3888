"""The command `cion identify`: from videos to who is who."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cion_core.cli.shell import errors


def identify(
    videos: Annotated[
        list[Path],
        typer.Argument(metavar="VIDEOS...", help="video files, or folders of them"),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="what is written, made if absent"),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            show_default="stripes, which ships",
            help="what embeds people: see models/README.md",
        ),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            show_default="motion, for cameras that stand still",
            help="what finds people: `cion parts` lists them",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="the detector's file, where it needs one"),
    ] = None,
    draw: Annotated[
        bool,
        typer.Option("--draw", help="write the videos, too, with a box and a number for everybody"),
    ] = False,
    blur_faces: Annotated[
        bool,
        typer.Option("--blur-faces", help="blur faces in the pictures and videos that are written"),
    ] = False,
) -> None:
    """Find out who is who in your videos: tables, a page of people, and videos with numbers.

    Clips of one camera belong in one folder. A call that was killed goes on when it is made again.
    """
    from cion_core.identify import command

    request = command.Request(
        videos=videos,
        out=out,
        model=model,
        detector=detector,
        detector_file=weights,
        draw=draw,
        blur_faces=blur_faces,
    )
    with errors("identify"):
        typer.echo(command.run(request))


def register(app: typer.Typer) -> None:
    """Add the command to `cion`."""
    app.command()(identify)
