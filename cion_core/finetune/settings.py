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
    """One way to fine-tune every pre-trained model: by a `recipe`, on the training images of a
    benchmark.

    `from` is where its models come from, a folder below data/: `pretrain`, or `finetune/NAME` of
    another run, as in domain adaptation. (DVC makes a path of it, so it must be there.) `set` has
    what the run sets otherwise than the recipe's own section.
    """

    model_config = ConfigDict(populate_by_name=True)

    recipe: str
    on: str
    set: dict[str, Any] = Field(default_factory=dict)
    start: Annotated[str, Field(alias="from", pattern=f"^({PRETRAINED}|{FINETUNED}/.+)$")]

    @property
    def before(self) -> str | None:
        """The run that it starts from; None: pre-training."""
        return None if self.start == PRETRAINED else self.start.removeprefix(f"{FINETUNED}/")


class Finetune(PartsSection):
    """`runs` by name; the numbers of a recipe stand under its name, and are the same in every
    run.
    """

    chooses: ClassVar[dict[str, Kind]] = {"runs": RECIPES}

    seed: Seed
    runs: dict[Name, Run]

    @classmethod
    def chosen(cls, key: str, values: Mapping) -> list[str]:
        runs = values.get(key)
        runs = runs.values() if isinstance(runs, Mapping) else ()
        return [
            run["recipe"] if isinstance(run, Mapping) else run.recipe
            for run in runs
            if not isinstance(run, Mapping) or isinstance(run.get("recipe"), str)
        ]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if taken := {FROZEN, PRETRAINED} & set(self.runs):
            raise ValueError(
                f"runs: {taken.pop()} is what models are called that no run has touched; name it "
                "otherwise"
            )
        for name in self.runs:
            self.chain(name)
            self.numbers(name)
        return self

    def numbers(self, name: str) -> Section:
        """The settings of the recipe of run `name`: the recipe's own section, and what the run
        sets.

        Raises:
            ValueError: the run sets what the recipe does not know, or to what is not valid.
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
            ValueError: one of them is not there, or they go round in a circle.
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
