"""YAML and JSON files that people write, and their sections as typed, checked settings.

An error names the file, the key and what would be valid there.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cion_core import complaints
from cion_core.errors import CionError, refuse_special

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]  # of folders and DVC stages
Seed = Annotated[int, Field(ge=0)]
BOOLEAN = "tag:yaml.org,2002:bool"
WHOLE_NUMBER = "tag:yaml.org,2002:int"
NUMBER = "tag:yaml.org,2002:float"
OTHER_IN_YAML_1_1 = (BOOLEAN, WHOLE_NUMBER, NUMBER)
WITH_BASE = re.compile("[-+]?0[box]")
MOST_BYTES = 4 << 20  # of a file that a person writes
MOST_VALUES = 100_000  # in it, those that aliases repeat counted each time


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
        # `Section | None` has two.
        kinds = [field.annotation, *get_args(field.annotation)] if field else []
        return next(
            (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None
        )


class Yaml(yaml.SafeLoader):
    """YAML as DVC reads it, which is version 1.2.

    `on` and `yes` are words, `1:30` is text, `010` is ten, `1e-3` a number; PyYAML's own loader
    reads each of these as something else.
    """

    yaml_implicit_resolvers: ClassVar[dict] = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in OTHER_IN_YAML_1_1]
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

    def construct_whole_number(self, node: yaml.ScalarNode) -> int:
        """0x1F, 0o17 and 0b11 have the base that they name; all others, 010 too, have base 10."""
        digits = node.value.replace("_", "")
        return int(digits, 0 if WITH_BASE.match(digits) else 10)


Yaml.add_implicit_resolver(BOOLEAN, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF")
Yaml.add_implicit_resolver(
    WHOLE_NUMBER,
    re.compile(r"^[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)$"),
    "-+0123456789",
)
Yaml.add_implicit_resolver(
    NUMBER,
    re.compile(
        r"^(?:[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.[0-9_]+(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    "-+0123456789.",
)
Yaml.add_constructor(WHOLE_NUMBER, Yaml.construct_whole_number)

Top = TypeVar("Top", bound=Section)


def load_yaml(path: Path | str) -> Any:
    """Read a YAML file.

    Raises:
        CionError: there is none; or as `parse_yaml`.
    """
    return parse_yaml(_read_text(path), path)


def load_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        CionError: there is none.
    """
    try:
        return json.loads(_read_text(path))
    except ValueError as error:
        raise CionError(f"{path}: not JSON: {error}") from None
    except RecursionError:
        raise CionError(f"{path}: not JSON: nested too deeply") from None


def parse_yaml(text: str, place: Path | str) -> Any:
    """Read YAML.

    Args:
        text: the YAML.
        place: where it is from, for messages.

    Raises:
        CionError: it is none, or stands for more values than any file of settings has.
    """
    try:
        loader = Yaml(text)
        node = loader.get_single_node()
        _refuse_bomb(node)
        return None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise CionError(f"{place}{where}: not YAML: {error.problem or error.context}") from None
    # A character or a date that cannot be.
    except (yaml.YAMLError, ValueError) as error:
        raise CionError(f"{place}: not YAML: {str(error).partition(chr(10))[0]}") from None
    except RecursionError:
        raise CionError(f"{place}: not YAML: nested too deeply") from None


def _read_text(path: Path | str) -> str:
    """The text of a file that somebody has written: UTF-8, with or without a byte order mark."""
    path = Path(path)
    refuse_special(path)
    try:
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise CionError(f"{path}: larger than {MOST_BYTES >> 20} MiB; no such file of text is")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CionError(f"{path}: no such file; run from the project's root") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CionError(f"{path}: cannot be read: {reason}") from None
    except UnicodeDecodeError:
        raise CionError(f"{path}: not UTF-8 text; save it as UTF-8") from None


def _refuse_bomb(top: yaml.Node | None) -> None:
    """Refuse YAML whose aliases multiply a few lines into millions of values ("billion laughs").

    Raises:
        ConstructorError: it is such, or a value contains itself.
    """
    sizes: dict[yaml.Node, int | None] = {}

    def size(node: yaml.Node) -> int:
        """How many values the node stands for; None in `sizes` while they are counted."""
        if node not in sizes:
            sizes[node] = None
            inner = [] if isinstance(node, yaml.ScalarNode) else node.value
            if isinstance(node, yaml.MappingNode):
                inner = [item for pair in inner for item in pair]
            sizes[node] = 1 + sum(size(item) for item in inner)
        if sizes[node] is None:
            fault = "a value contains itself"
            raise yaml.constructor.ConstructorError(None, None, fault, node.start_mark)
        if sizes[node] > MOST_VALUES:
            fault = f"its aliases stand for more than {MOST_VALUES:,} values"
            raise yaml.constructor.ConstructorError(None, None, fault, node.start_mark)
        return sizes[node]

    if top is not None:
        size(top)


def read(path: Path | str, model: type[Top]) -> Top:
    """Read a YAML file as settings.

    Args:
        path: the file.
        model: the section that it holds.

    Raises:
        CionError: every bad key is named at once.
    """
    return checked(load_yaml(path), model, path)


def checked(values: Any, model: type[Top], path: Path | str) -> Top:
    """Check settings.

    Args:
        values: what was read.
        model: the section that it should be.
        path: what it was read from, for messages.

    Raises:
        CionError: every bad key is named at once.
    """
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
