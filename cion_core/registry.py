"""Parts that params.yaml names: methods, linking rules, detectors, trackers, embedders and more.

A *kind* of part has a home, a package with one module for each part, and in its `base.py` an
abstract class that says what a part must do. A part is one file: a subclass in a module of the
home, which is called what the module is called, or a class of yours anywhere, which is called by
its import path. Nothing else lists it: whoever needs the names, the one-line descriptions, the
settings or the files asks the kind.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from abc import ABC
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from cion_core.config import Section
from cion_core.errors import CionError

BASE = "base"  # the module of a home that holds the abstract class
# Rooms and modules that only record, speak or choose: no result comes from them, so nothing depends
# on them.
SILENT = (
    "cli",
    "cluster",
    "complaints",
    "errors",
    "params",
    "progress",
    "project",
    "runtime",
    "tracking",
)


@dataclass(frozen=True)
class Style:
    """How a part's line or bar is drawn.

    A colour, and a dash as matplotlib knows it, for print and for those who see no colours.
    """

    colour: str
    dash: str | tuple = "solid"


@dataclass
class Kind:
    """All parts of one kind.

    Attributes:
        title: what one is called in messages, such as "detector".
        key: where one is named, such as "extract.detector".
        home: the package of those that come with the project, one module each. `base` and modules
            whose names begin with an underscore are not parts.
        asks: those that ask all the others, and so are made of their files too.
        parts: those that have been imported, by name; they enter themselves
            (`Part.__init_subclass__`).
    """

    title: str
    key: str
    home: str
    asks: tuple[str, ...] = ()
    parts: dict[str, type[Part]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the home lies."""
        return Path(next(iter(importlib.util.find_spec(self.home).submodule_search_locations)))

    def names(self) -> list[str]:
        """The parts that come with the project, sorted; nothing is imported for it."""
        found = sorted(path.stem for path in self.folder.glob("*.py"))
        return [name for name in found if name != BASE and not name.startswith("_")]

    def named(self, name: str) -> type[Part]:
        """The part of a name.

        Args:
            name: a module of the home, or the import path of a module or a class
                (`mine.methods.Mine`).

        Raises:
            CionError: there is none; it says which there are.
        """
        if name in self.names():
            importlib.import_module(f"{self.home}.{name}")
            return self.parts[name]
        # A name from a file may be anything, such as null.
        words = name.split(".") if isinstance(name, str) else []
        if len(words) < 2 or not all(word.isidentifier() for word in words):
            raise CionError(
                f"{self.key}: unknown {self.title} {name!r}; valid are {', '.join(self.names())}, "
                "or the import path of a class of yours"
            )
        part = self._outside(name)
        part.name = name
        self.parts[name] = part
        return part

    def all(self) -> Iterator[type[Part]]:
        """Every part that comes with the project."""
        return (self.named(name) for name in self.names())

    def files(self, name: str) -> list[Path]:
        """List the files that a part is made of, itself first.

        With it are all that it imports of its own package and the project. Found by reading,
        without running anything; this also works for parts of yours. What is SILENT is left out.
        """
        module = f"{self.home}.{name}" if name in self.names() else self.named(name).__module__
        found: dict[str, Path] = {}
        packages = {self.home.partition(".")[0], module.partition(".")[0]}
        waiting = [module, *(f"{self.home}.{other}" for other in self.names() if name in self.asks)]
        while waiting:
            module = waiting.pop(0)
            if module in found or module.partition(".")[0] not in packages:
                continue
            path = _source(module)
            if path is not None:
                found[module] = path
                waiting += _imported(module, path)
        return list(found.values())

    def _outside(self, path: str) -> type[Part]:
        """The class that an import path means: the one part of a module, or a class of it."""
        where = f"{self.key}: {path}"
        module = importable(path, where)
        if module is not None:
            own = [
                part
                for part in vars(module).values()
                if self._is_part(part) and part.__module__ == module.__name__
            ]
            if len(own) != 1:
                raise CionError(
                    f"{where}: the module defines {len(own)} {self.title}s; it must be one"
                )
            return own[0]
        parent, _, last = path.rpartition(".")
        module = importable(parent, where)
        if module is None:
            raise CionError(
                f"{where}: no module {path} or {parent} that Python can import from {Path.cwd()}; "
                f"the {self.title}s that come with the project are {', '.join(self.names())}"
            )
        part = getattr(module, last, None)
        if not self._is_part(part):
            raise CionError(
                f"{where}: {module.__file__} has no {self.title} called {last}; see "
                f"{self.home}.{BASE}"
            )
        return part

    def _is_part(self, value: object) -> bool:
        return (
            isinstance(value, type)
            and issubclass(value, Part)
            and value.__dict__.get("about") is not None
            and value.of is self
        )


def _source(module: str) -> Path | None:
    """The file of a module; None where it is SILENT, or the name is of something in a module."""
    first, *rest = module.split(".")
    if rest and first == __name__.partition(".")[0] and rest[0] in SILENT:
        return None
    top = importlib.util.find_spec(first)  # of a package itself, which imports nothing
    if top is None or not rest:
        return Path(top.origin) if top and top.origin else None
    places = [Path(folder, *rest) for folder in top.submodule_search_locations or ()]
    files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    return next((file for file in files if file.is_file()), None)


def _imported(module: str, path: Path) -> list[str]:
    """The names of modules, and of what is in them, that a module imports anywhere."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            above = (
                package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            )
            source = ".".join([*above, *([node.module] if node.module else [])])
            names += [source, *(f"{source}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


def importable(path: str, where: str) -> object | None:
    """Import a module, looked for in the working folder too.

    Args:
        path: its import path.
        where: what errors name.

    Returns:
        The module; None where there is none of that name.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    importlib.invalidate_caches()
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and (path == error.name or path.startswith(f"{error.name}.")):
            return None
        raise CionError(
            f"{where}: it needs the module {error.name}, which is not installed"
        ) from error


class Part(ABC):
    """What every part has, of whatever kind.

    The abstract class of a kind says which: `class Detector(Part, of=DETECTORS)`. A part is a
    subclass with `about`, one line for people; a subclass without is a step between. `Settings` are
    its own parameters: a section under the part's name beside the key that names it
    (`extract.yolo`), nothing by default.
    """

    of: ClassVar[Kind]
    name: ClassVar[str]
    about: ClassVar[str | None] = None
    style: ClassVar[Style | None] = None

    class Settings(Section):
        """Nothing to set."""

    def __init_subclass__(cls, of: Kind | None = None, **rest: object) -> None:
        super().__init_subclass__(**rest)
        if of is not None:
            cls.of = of
        elif cls.__dict__.get("about"):
            inside = cls.__module__.removeprefix(f"{cls.of.home}.")
            cls.name = inside
            cls.of.parts[inside] = cls
