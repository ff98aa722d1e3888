"""The section `finetune` of params.yaml."""

from __future__ import annotations

from typing import ClassVar

from cion_core.config import Seed
from cion_core.finetune.recipes import RECIPES
from cion_core.registry import Kind
from cion_core.sections import PartsSection


class Finetune(PartsSection):
    """`recipe` names how; its numbers stand under its name."""

    chooses: ClassVar[dict[str, Kind]] = {"recipe": RECIPES}

    recipe: str
    seed: Seed
