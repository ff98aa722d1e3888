"""The command `cion`: one subcommand per DVC stage, and those around models; each a thin call into its room."""

from __future__ import annotations

import os
import sys

import typer

from cion_core.cli import audit, denoise, identify, models, parts, stages, studies

app = typer.Typer(
    help="Raw videos to person re-identification backbones. `dvc repro` runs the stages in order.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # for whatever entry; OpenCV is imported later, by commands
# Torch's threads wait for each other at the end of every operation. Awake, as by default, they take the processor from
# the one that is waited for as soon as another process wants it as well. Read when torch is imported, which is later.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

for room in (stages, audit, denoise, identify, parts, models, studies):
    room.register(app)


def main() -> None:
    """Entry point of `cion` and of `python -m cion_core.cli`."""
    sys.exit(app())
