"""studies/params.yaml: the numbers of the studies, which no stage of the main pipeline depends on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import create_model

from cion_core import config
from cion_core.config import Name, Section
from cion_core.studies.kinds import STUDIES

if TYPE_CHECKING:
    from cion_core.project import Params
    from cion_core.studies.kinds.base import Study

FILE = Path("studies/params.yaml")


class Studies(Section):
    """backbone and benchmark: of those in params.yaml, what is trained and what it is measured on; and each study's own
    section under its name, which `read` adds."""

    backbone: str
    benchmark: Name


def read(path: Path = FILE) -> Studies:
    """The checked file; CionError names every bad key at once."""
    sections = {study.name: (study.Settings, ...) for study in STUDIES.all()}
    return config.read(path, create_model("Studies", __base__=Studies, **sections))


def study(name: str, p: Params, path: Path = FILE) -> Study:
    """The study `name` with the numbers of `p` and of the file; CionError: there is none, or they do not fit."""
    return STUDIES.named(name)(p, read(path))
