"""The commands `cion audit`, a stage of the pipeline, and `cion audit tracking`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cion_core.cli.shell import stage

FOLDERS = (
    "sequences of the MOT challenge (gt/gt.txt, seqinfo.ini, img1/), folders of them at any depth, "
    "or a folder with a world.yaml, which is rendered; none: ingest.source, if it is a world"
)
TRACKER = "a tracker; may be given several times; none: extract.tracker"
CURVE = "purity against recall, each tracker at several overlaps (.png, .svg)"


def audit(context: typer.Context) -> None:
    """What denoising is worth: scores by the truth, and by planted errors, into data/audit.

    With the command `tracking`: what detectors and trackers are worth.
    """
    if context.invoked_subcommand is not None:
        return
    from cion_core.audit.stage import run

    with stage("audit", "denoise") as params:
        run(params.denoise, params.runtime)


def tracking(
    folders: Annotated[list[Path] | None, typer.Argument(help=FOLDERS)] = None,
    tracker: Annotated[list[str] | None, typer.Option(help=TRACKER)] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="the same numbers, as JSON"),
    ] = None,
    curve: Annotated[Path | None, typer.Option(metavar="PICTURE", help=CURVE)] = None,
) -> None:
    """Score tracklets against truth: purity, recall and fragments; HOTA, IDF1 and MOTA.

    Frames go through the detector and the settings of the section extract of params.yaml.
    """
    from cion_core.audit.mot import run

    with stage("audit-tracking", "ingest", "extract") as params:
        sequences = folders or [Path(params.ingest.source)]
        typer.echo(run(params.extract, sequences, tracker or [], out, curve))


def register(app: typer.Typer) -> None:
    """Add these commands to `cion`."""
    group = typer.Typer(invoke_without_command=True)
    group.callback()(audit)
    group.command()(tracking)
    app.add_typer(group, name="audit")
