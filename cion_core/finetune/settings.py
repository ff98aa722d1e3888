"""The section `finetune` of params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import ConfigDict, Field, model_validator

from cion_core.config import Name, Section, Seed, checked
from cion_core.errors import CionError
from cion_core.finetune.recipes import RECIPES
from cion_core.registry import Kind
from cion_core.sections import PartsSection
from cion_core.zoo.card import FROZEN

PRETRAINED, FINETUNED = "pretrain", "finetune"  # the folders below data/ that models come from


class Run(Section):
    """One way to fine-tune every pre-trained model.

    Attributes:
        recipe: by which it is trained.
        on: the benchmark whose training images it is trained on.
        set: settings that differ from the recipe's own section.
        start: `from` in params.yaml, the folder below data/ that its models come from: `pretrain`,
            or `finetune/NAME` of another run, as in domain adaptation. DVC makes a path of it, so
            it must be given.
    """

    model_config = ConfigDict(populate_by_name=True)

    recipe: str
    on: str
    set: dict[str, Any] = Field(default_factory=dict)
    start: Annotated[str, Field(alias="from", pattern=f"^({PRETRAINED}|{FINETUNED}/.+)$")]

    @property
    def before(self) -> str | None:
        """The run that it starts from; None: pre-training."""
        if self.start == PRETRAINED:
            return None
        return self.start.removeprefix(f"{FINETUNED}/")


class Finetune(PartsSection):
    """Runs by name; a recipe's own settings stand under its name, the same for every run."""

    chooses: ClassVar[dict[str, Kind]] = {"runs": RECIPES}

    seed: Seed
    runs: dict[Name, Run]

    @classmethod
    def chosen(cls, key: str, values: Mapping) -> list[str]:
        runs = values.get(key)
        if not isinstance(runs, Mapping):
            return []
        recipes = [
            run.get("recipe") if isinstance(run, Mapping) else run.recipe for run in runs.values()
        ]
        return [recipe for recipe in recipes if isinstance(recipe, str)]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if taken := {FROZEN, PRETRAINED} & set(self.runs):
            raise ValueError(
                f"runs: {taken.pop()} is what models are called that no run has touched; name it "
                "otherwise"
            )
        for name in self.runs:
            self.chain(name)
            self.settings_of_run(name)
        return self

    def settings_of_run(self, name: str) -> Section:
        """The settings of a run: its recipe's own section, changed by what the run sets.

        Raises:
            ValueError: the recipe has no such setting, or the value is not valid.
        """
        run = self.runs[name]
        own = self.settings(run.recipe)
        if not run.set:
            return own
        try:
            return checked(own.model_dump() | run.set, type(own), f"runs.{name}.set")
        except CionError as error:
            raise ValueError(str(error)) from None

    def chain(self, name: str) -> list[str]:
        """The runs that a model of run `name` has gone through, `name` last.

        Raises:
            ValueError: one of them is missing, or they form a circle.
        """
        found = [name]
        while (before := self.runs[found[0]].before) is not None:
            if before not in self.runs:
                raise ValueError(
                    f"runs.{found[0]}.from: no run {before}; there are {', '.join(self.runs)}, or "
                    f"{PRETRAINED}"
                )
            if before in found:
                raise ValueError(
                    f"runs.{found[0]}.from: {' from '.join([*found[::-1], before][::-1])} is a "
                    "circle"
                )
            found.insert(0, before)
        return found
