"""The house as docs/architecture.md draws it: floors, no circles, each library in one place."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import networkx
import pytest
from imports_of import PACKAGES, drawn, floors, imports, module_files, room_graph

PROJECT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def modules() -> networkx.DiGraph:
    """Which module imports which, wherever in it the import stands."""
    graph = networkx.DiGraph()
    for module in module_files(PROJECT):
        graph.add_node(module)
        graph.add_edges_from(
            (module, other) for other in imports(PROJECT, module) if other != module
        )
    return graph


@pytest.fixture(scope="module")
def rooms() -> networkx.DiGraph:
    """Which room imports which."""
    return room_graph(PROJECT)


def test_no_circle_of_rooms(rooms: networkx.DiGraph) -> None:
    assert list(networkx.simple_cycles(rooms)) == []


def test_no_circle_of_modules(modules: networkx.DiGraph) -> None:
    assert list(networkx.simple_cycles(modules)) == []


def test_imports_go_down_the_floors_that_the_docs_list(rooms: networkx.DiGraph) -> None:
    floor = {
        name: number for number, names in enumerate(floors(PROJECT).values()) for name in names
    }
    assert set(rooms) == set(floor), "every room is in the list, and nothing else"
    upward = [(a, b) for a, b in rooms.edges if floor[a] < floor[b]]
    assert upward == []


def test_the_map_in_the_docs_is_drawn_from_the_imports() -> None:
    text = (PROJECT / "docs/architecture.md").read_text()
    assert f"```mermaid\n{drawn(PROJECT)}\n```" in text, "python tests/imports_of.py prints it anew"


def importers(library: str) -> set[str]:
    pattern = re.compile(rf"^\s*(?:import|from) {library}\b", re.MULTILINE)
    files = (path for package in PACKAGES for path in (PROJECT / package).rglob("*.py"))
    return {
        path.relative_to(PROJECT).as_posix() for path in files if pattern.search(path.read_text())
    }


def test_each_service_and_engine_is_imported_in_one_place() -> None:
    assert {path.rpartition("/")[0] for path in importers("mlflow")} == {"cion_core/tracking"}
    assert importers("ultralytics") == {"cion_core/extract/detectors/yolo.py"}
    assert importers("ray") == {"cion_core/cluster/fleet.py"}
    assert importers("faiss") == {"cion_core/neighbours/search.py"}
    assert {path.split("/")[0] for path in importers("prefect")} == {"flows"}


def tracked() -> Iterator[Path]:
    done = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no git checkout")
    yield from (
        PROJECT / name
        for name in done.stdout.split()
        if (PROJECT / name).suffix in (".py", ".md", ".yaml")
    )


def test_nothing_cites_a_document_that_is_not_here() -> None:
    named = re.compile(r"(?<![\w/.-])((?:docs/)?[A-Z]{4,}\.md|docs/\w+\.md|DESIGN(?= §))")
    missing = {}
    for path in tracked():
        for name in named.findall(path.read_text()):
            if not (PROJECT / name).exists() and path != Path(__file__):
                missing.setdefault(name, []).append(path.relative_to(PROJECT).as_posix())
    assert missing == {}


def test_every_room_has_a_paragraph_in_the_docs(rooms: networkx.DiGraph) -> None:
    text = (
        (PROJECT / "docs/architecture.md")
        .read_text()
        .split("## The rooms")[1]
        .split("## Tables")[0]
    )
    assert [name for name in rooms if not re.search(rf"(?:\*\*|`){name}(?:/|`|\*\*)", text)] == []
