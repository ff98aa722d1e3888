"""studies/params.yaml: the numbers of the studies; no stage of the main pipeline needs them."""

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
    """What all studies share; `read` adds each study's own section under its name.

    Attributes:
        backbone: what is trained, of those in params.yaml.
        benchmark: what it is measured on.
    """

    backbone: str
    benchmark: Name


def read(path: Path = FILE) -> Studies:
    """Read and check the file.

    Raises:
        CionError: keys are wrong; it names them all at once.
    """
    sections = {study.name: (study.Settings, ...) for study in STUDIES.all()}
    model = create_model("Studies", __base__=Studies, **sections)
    return config.read(path, model)


def make_study(name: str, params: Params, path: Path = FILE) -> Study:
    """A study with the numbers of `params` and of the file.

    Raises:
        CionError: there is no such study, or the numbers do not fit one another.
    """
    kind = STUDIES.named(name)
    return kind(params, read(path))
