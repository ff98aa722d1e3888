"""The imports of the project's modules, read from their text.

They are for the tests of the house and of dvc.yaml.

python tests/imports_of.py       prints the map of the house for docs/architecture.md
"""

from __future__ import annotations

import ast
from pathlib import Path

import networkx

PACKAGES = ("cion_core", "demo_world", "flows")


def module_files(project: Path) -> dict[str, Path]:
    """Every module by its name; a package by its `__init__`."""
    found = {}
    for package in PACKAGES:
        for path in sorted((project / package).rglob("*.py")):
            parts = path.relative_to(project).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(project: Path, module: str, lazy: bool = False) -> set[str]:
    """The project's modules that one imports anywhere, but for those only type checkers see.

    Importing a package's module runs the package's `__init__`, but that is no import of its room.
    lazy: a package that loads its names when they are first asked for (`__getattr__`) counts as
    importing what it shows type checkers.
    """
    known = module_files(project)
    names: list[str] = []
    tree = ast.parse(known[module].read_text())
    asked = lazy and any(
        isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body
    )
    hidden = (
        set()
        if asked
        else {id(node) for found in ast.walk(tree) if _for_types(found) for node in ast.walk(found)}
    )
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names += [name for name in inside if name in known]
            if any(name not in known for name in inside):
                names.append(node.module)
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return {name for name in names if name in known}


def _for_types(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def room(module: str) -> str:
    """A module's room: `cion_core.denoise.noise` is in denoise, `cion_core.work` is its own."""
    first, *rest = module.split(".")
    return rest[0] if first == "cion_core" and rest else first


def room_graph(project: Path) -> networkx.DiGraph:
    """Which room imports which."""
    graph = networkx.DiGraph()
    for module in module_files(project):
        graph.add_node(room(module))
        others = {room(other) for other in imports(project, module)} - {room(module)}
        graph.add_edges_from((room(module), other) for other in others)
    graph.remove_node("cion_core")
    return graph


def floors(project: Path) -> dict[str, list[str]]:
    """The floors that docs/architecture.md lists, from the ground up, and the rooms on each."""
    block = (project / "docs/architecture.md").read_text().split("## The floors")[1].split("## ")[0]
    lines = [line.split() for line in block.splitlines() if line.startswith("    ")]
    return {floor: rooms for floor, *rooms in lines}


def drawn(project: Path) -> str:
    """The rooms above the ground as a Mermaid graph: an arrow from each to what it imports.

    Arrows that a way round through other rooms says already are left out.
    """
    graph = room_graph(project)
    graph.remove_nodes_from(floors(project)["ground"])
    graph = networkx.transitive_reduction(graph)
    return "\n".join(["graph TD", *sorted(f"    {a} --> {b}" for a, b in graph.edges)])


if __name__ == "__main__":
    print(drawn(Path(__file__).parent.parent))
