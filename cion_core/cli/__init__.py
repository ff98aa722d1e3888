"""The command `cion`: a subcommand for each DVC stage, and those around models.

A module here holds some commands, which call their rooms, and a `register` that adds them; it is
listed below. What takes long to import is imported inside the commands, so that help is quick.
"""

from __future__ import annotations

import os
import sys

import typer

from cion_core.cli import audit, brought, denoise, identify, models, parts, stages, studies

app = typer.Typer(
    help="Raw videos to person re-identification backbones. `dvc repro` runs the stages in order.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
# OpenCV reads this when it is imported, which the commands do later.
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
# Torch's threads wait for each other at the end of every operation. Awake, as by default, they take
# the processor from the one that is waited for, as soon as another process wants it as well. Torch
# reads this when it is imported, which is later, too.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

for commands in (stages, audit, denoise, identify, parts, brought, models, studies):
    commands.register(app)


def main() -> None:
    """Entry point of `cion` and of `python -m cion_core.cli`."""
    sys.exit(app())
