"""Kinds of parts: found by file, by import path, or refused with what there is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cion_core.errors import CionError
from cion_core.project import KINDS
from cion_core.registry import Kind, Part

HOME = {
    "__init__": "from cion_core.registry import Kind\nGADGETS = Kind('gadget', 'shop.gadget', "
    "__name__)\n",
    "base": """
        from cion_core.registry import Part
        from shop.gadgets import GADGETS
        class Gadget(Part, of=GADGETS):
            '''What a gadget must do.'''
    """,
    "hammer": """
        from cion_core.config import Count, Section
        from shop.gadgets.base import Gadget
        from shop.wood import OAK
        class Hammer(Gadget):
            about = "drives nails"
            class Settings(Section):
                weight: Count
    """,
    "mallet": """
        from shop.gadgets import hammer
        class Mallet(hammer.Hammer):
            about = "drives pegs"
    """,
    "saw": """
        from shop.gadgets.base import Gadget
        class Toothed(Gadget):
            '''A step between: it says nothing of itself.'''
        class Saw(Toothed):
            about = "cuts"
            def cut(self):
                from shop import late
    """,
}


@pytest.fixture
def shop(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kind]:
    """A room `shop` with a home of three gadgets, as a kind; all of it is forgotten afterwards."""

    def write(path: str, text: str) -> None:
        file = workspace / f"{path}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = text.splitlines()
        file.write_text(
            "\n".join(line.removeprefix("        ").removeprefix("    " * 0) for line in lines)
            + "\n"
        )

    for name, text in HOME.items():
        write(f"shop/gadgets/{name}", text)
    for name, text in {
        "__init__": "",
        "wood": "OAK = 1\n",
        "late": "LATE = 1\n",
        "unused": "",
    }.items():
        write(f"shop/{name}", text)
    write("mine/__init__", "")
    drill = "class Drill(Gadget):\n    about = 'makes holes'\n"
    imports = (
        "import ast\nimport cion_core.progress\nfrom . import helpers\nfrom shop.gadgets.base "
        "import Gadget\n"
    )
    write("mine/drill", imports + drill)
    write("mine/helpers", "BITS = 1\n")
    write(
        "mine/two",
        "from mine.drill import Drill\nclass A(Drill):\n    about = 'a'\nclass B(Drill):\n    "
        "about = 'b'\n",
    )
    write("mine/needy", "import nowhere_to_be_found\n")
    monkeypatch.syspath_prepend(str(workspace))
    before = set(sys.modules)
    from shop.gadgets import GADGETS

    yield GADGETS
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_part_is_called_what_its_file_is_called(shop: Kind) -> None:
    assert shop.names() == ["hammer", "mallet", "saw"]
    assert shop.named("hammer").about == "drives nails" and shop.named("hammer").name == "hammer"
    assert [part.name for part in shop.all()] == shop.names()


def test_a_part_of_yours_is_called_by_its_import_path(shop: Kind) -> None:
    assert shop.named("mine.drill") is shop.named("mine.drill")
    assert shop.named("mine.drill").name == "mine.drill" and shop.named("mine.two.B").about == "b"
    assert shop.names() == ["hammer", "mallet", "saw"], (
        "those of yours are not among those that come along"
    )


def test_only_the_file_that_is_asked_for_is_imported(shop: Kind) -> None:
    shop.named("saw")
    assert "shop.gadgets.hammer" not in sys.modules and "shop.gadgets.mallet" not in sys.modules


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "screwdriver",
            r"shop\.gadget: unknown gadget 'screwdriver'; "
            r"valid are hammer, mallet, saw, or the import path",
        ),
        (None, r"unknown gadget None; valid are hammer"),
        (3, r"unknown gadget 3; valid are hammer"),
        ("base", r"unknown gadget 'base'"),
        ("", r"unknown gadget ''"),
        ("..", r"unknown gadget '\.\.'; valid are hammer"),
        (".saw", r"unknown gadget '\.saw'"),
        ("mine..two", r"unknown gadget 'mine\.\.two'"),
        ("../mine.py", r"unknown gadget '\.\./mine\.py'"),
        ("mine.two", r"shop\.gadget: mine\.two: the module defines 2 gadgets; it must be one"),
        ("mine.drill.Saw", r"mine.drill\.py has no gadget called Saw; see shop\.gadgets\.base"),
        (
            "mine.none.Saw",
            r"no module mine\.none\.Saw or mine\.none that Python can import from .*; "
            r"the gadgets that come",
        ),
        (
            "mine.needy",
            r"mine\.needy: it needs the module nowhere_to_be_found, which is not installed",
        ),
        ("shop.gadgets.base.Gadget", r"has no gadget called Gadget"),
    ],
)
def test_an_unknown_name_says_what_would_be_valid(shop: Kind, name: str, said: str) -> None:
    with pytest.raises(CionError, match=said):
        shop.named(name)


def test_the_files_of_a_part_are_its_own_and_what_it_imports_of_the_project(
    shop: Kind, workspace: Path
) -> None:
    def files(name: str) -> list[str]:
        paths = [
            path
            for path in shop.files(name)
            if path.is_relative_to(workspace) and path.read_text().strip()
        ]
        return sorted(path.relative_to(workspace).as_posix() for path in paths)

    base = ["shop/gadgets/__init__.py", "shop/gadgets/base.py"]
    assert files("hammer") == [*base, "shop/gadgets/hammer.py", "shop/wood.py"]
    assert files("mallet") == [
        *base,
        "shop/gadgets/hammer.py",
        "shop/gadgets/mallet.py",
        "shop/wood.py",
    ]
    assert files("saw") == [*base, "shop/gadgets/saw.py", "shop/late.py"], "lazy imports count"
    assert (
        files("mine.drill")
        == files("mine.drill.Drill")
        == ["mine/drill.py", "mine/helpers.py", *base]
    )
    assert not any(path.name == "progress.py" for path in shop.files("mine.drill")), (
        "what only speaks does not"
    )
    shop.asks = ("saw",)
    assert set(files("saw")) > set(files("hammer")) | {"shop/late.py"}, "it asks all others"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.title)
def test_every_part_of_the_project_says_what_it_is(kind: Kind) -> None:
    parts = list(kind.all())
    assert parts
    for part in parts:
        assert issubclass(part, Part) and part.of is kind
        assert part.about and "\n" not in part.about and part.Settings.__doc__
        assert not part.__abstractmethods__, "nothing is left to be written"
        assert kind.files(part.name)[0].stem == part.name


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.title)
def test_the_base_class_tells_a_newcomer_what_to_write(kind: Kind) -> None:
    base = next(iter(kind.all())).__mro__
    own = [
        c for c in base if c.__module__ == f"{kind.home}.base" and c.__dict__.get("about") is None
    ]
    assert own and len(own[0].__doc__) > 100
