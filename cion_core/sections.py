"""Sections of params.yaml in which parts are chosen; they hold each part's settings, too.

    extract:
      detector: yolo              # the choice
      rate: 10                    # the room's own
      yolo: {weights: yolo11n.pt} # that part's, under its name

A part that is named by an import path has its settings under that path: `mine.Finder` under `mine:
{Finder: {...}}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Self

from pydantic import ValidatorFunctionWrapHandler, create_model, model_validator

from cion_core.config import Section
from cion_core.errors import CionError
from cion_core.registry import Kind, Part


class PartsSection(Section):
    """Base of such a section.

    `chooses` says which keys name parts, one name or a list of them, and of which kind.
    """

    chooses: ClassVar[dict[str, Kind]] = {}
    plain: ClassVar[type[PartsSection] | None] = None  # the class without the parts' keys

    def __new__(cls, **values: Any) -> Self:
        # `Section(key=...)` makes what `Section.model_validate({"key": ...})` does
        return super().__new__(cls if cls.plain is not None else cls.with_parts(values))

    @model_validator(mode="wrap")
    @classmethod
    def _with_parts(cls, values: Any, validate: ValidatorFunctionWrapHandler) -> Self:
        if cls.plain is not None or not isinstance(values, Mapping):
            return validate(values)
        return cls.with_parts(values).model_validate(values)

    @classmethod
    def with_parts(cls, values: Mapping) -> type[Self]:
        """This class with a key for every part that `values` names or has settings of.

        Raises:
            ValueError: a part that is named does not exist.
        """
        found: dict[str, type[Part]] = {}
        unknown: list[str] = []
        for key, kind in cls.chooses.items():
            chosen = cls.chosen(key, values)
            beside = [name for name in kind.names() if name in values]
            try:
                found |= {name: kind.named(name) for name in (*chosen, *beside)}
            except CionError as error:
                unknown.append(str(error))
        if unknown:
            raise ValueError("; ".join(unknown))
        return _grown(cls, tuple(found.items()))

    @classmethod
    def chosen(cls, key: str, values: Mapping) -> list[str]:
        """The parts that a key names.

        Args:
            key: one of `chooses`.
            values: the section.

        Returns:
            The names, one or more.
        """
        value = values.get(key, cls.model_fields[key].default)
        return [
            name
            for name in (value if isinstance(value, list) else [value])
            if isinstance(name, str)
        ]

    @classmethod
    def keys(cls) -> list[str]:
        """The section's own keys and the names of parts."""
        return list(
            dict.fromkeys(
                [
                    *cls.model_fields,
                    *(name for kind in cls.chooses.values() for name in kind.names()),
                ]
            )
        )

    @classmethod
    def inner(cls, key: str) -> type[Section] | None:
        """The section under a key; a part's is its settings."""
        kinds = [kind for kind in cls.chooses.values() if key in kind.names()]
        return kinds[0].named(key).Settings if kinds else super().inner(key)

    def settings(self, name: str) -> Section:
        """The settings of the part `name`."""
        value: Any = self
        for step in name.split("."):
            value = getattr(value, step)
        return value

    def own(self) -> dict[str, Any]:
        """The section's values without any part's settings."""
        return self.model_dump(include=set((self.plain or type(self)).model_fields), by_alias=True)

    def __reduce__(self) -> tuple:
        # the class with parts exists in this process alone; another makes it again
        return (self.plain or type(self)).model_validate, (self.model_dump(by_alias=True),)


@cache
def _grown(
    model: type[PartsSection], parts: tuple[tuple[str, type[Part]], ...]
) -> type[PartsSection]:
    """`model` with a key for each of the parts.

    Of the same parts it is the same class, so that equal values are equal.
    """
    return create_model(
        model.__name__, __base__=model, plain=(ClassVar, model), **_fields(dict(parts))
    )


def _fields(parts: Mapping[str, type[Part]]) -> dict[str, tuple]:
    """Fields of a model by name: a part's settings, required where one of them is; dots nest."""
    fields: dict[str, tuple] = {}
    nested: dict[str, dict[str, type[Part]]] = {}
    for name, part in parts.items():
        first, _, rest = name.partition(".")
        if rest:
            nested.setdefault(first, {})[rest] = part
        else:
            fields[first] = _field(part.Settings)
    for first, inner in nested.items():
        fields[first] = _field(create_model(first, __base__=Section, **_fields(inner)))
    return fields


def _field(model: type[Section]) -> tuple:
    required = any(field.is_required() for field in model.model_fields.values())
    return (model, ... if required else model())
