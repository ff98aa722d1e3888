"""YAML files as typed, checked sections; an error names the file, the key and what would be valid
there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cion_core import complaints
from cion_core.errors import CionError

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]  # of folders and DVC stages
Seed = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """Base: an unknown or missing key is an error, values are not changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def keys(cls) -> list[str]:
        """The keys that it knows, for messages."""
        return list(cls.model_fields)

    @classmethod
    def inner(cls, key: str) -> type[Section] | None:
        """The section under a key, None where there is a plain value or nothing."""
        field = cls.model_fields.get(key)
        kinds = (
            [field.annotation, *get_args(field.annotation)] if field else []
        )  # `Section | None` has two
        return next(
            (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None
        )


class Yaml(yaml.SafeLoader):
    """YAML as DVC reads it (1.2), to which `on`, `off`, `yes` and `no` are words; PyYAML's own
    makes them booleans.
    """

    yaml_implicit_resolvers: ClassVar[dict] = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """A mapping in which no key is twice: PyYAML would go by the last one, in silence."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} is there twice", key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return super().construct_mapping(node, deep)


BOOLEAN = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
Yaml.add_implicit_resolver("tag:yaml.org,2002:bool", BOOLEAN, list("tTfF"))

Top = TypeVar("Top", bound=Section)


def load_yaml(path: Path | str) -> Any:
    """The content of a YAML file; CionError where there is none."""
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), Yaml)
    except FileNotFoundError:
        raise CionError(f"{path}: no such file; run from the project's root") from None
    except OSError as error:
        raise CionError(
            f"{path}: cannot be read: {(error.strerror or str(error)).lower()}"
        ) from None
    except UnicodeDecodeError:
        raise CionError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise CionError(f"{path}{place}: not YAML: {error.problem or error.context}") from None
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
    ) as error:  # a character, a date or a nesting that cannot be
        raise CionError(f"{path}: not YAML: {str(error).partition(chr(10))[0]}") from None


def read(path: Path | str, model: type[Top]) -> Top:
    """The file's content as `model`; CionError names every bad key at once."""
    return checked(load_yaml(path), model, path)


def checked(values: Any, model: type[Top], path: Path | str) -> Top:
    """`values`, which come from `path`, as `model`; CionError names every bad key at once."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [f"  {_key(item['loc'])}{_message(item, model)}" for item in error.errors()]
        raise CionError(f"{path}:\n" + "\n".join(dict.fromkeys(lines))) from None


def _key(loc: tuple) -> str:
    # pydantic appends the name of a union's branch; only keys and list positions belong in the path
    key = ".".join(str(part) for part in loc if isinstance(part, int) or str(part).isidentifier())
    return f"{key}: " if key else ""


def _message(item: dict, section: type[Section]) -> str:
    if item["type"] == "extra_forbidden":
        for part in item["loc"][:-1]:
            below = section.inner(str(part))
            if below is None:
                return "unknown key"
            section = below
        return f"unknown key; valid: {', '.join(section.keys())}"
    found = f", found {item['input']!r}" if item["type"] not in ("missing", "value_error") else ""
    return complaints.of_setting(item["msg"].removeprefix("Value error, ")) + found
