"""The code that stages depend on: as dvc.yaml lists it, and as they really imported it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import yaml
from imports_of import PACKAGES, imports, module_files
from miniature import Project

from cion_core import registry

SILENT = tuple(f"cion_core.{name}" for name in registry.SILENT)
# A recipe may build the model that it has trained; the bag of tricks does not. `start` asks a
# recipe for settings alone.
PARTLY = {("evaluate-run", "runs"), ("start", "runs")}
# Imported where there is a GPU; offered by the zoo to a recipe, unneeded by the bag of tricks.
OFFERED = {"evaluate": "cion_core/evaluate/tensors.py", "finetune": "cion_core/zoo/images.py"}
MODULES = {  # the module of a stage, where it is not that of a room called so
    "evaluate-run": "evaluate.stage",
    "evaluate-stripes": "evaluate.stage",
    "compare": "report.stage",
    "start": "finetune.start",
}
# The embedder that the model's card names.
CARDS = {"evaluate": "zoo", "evaluate-run": "zoo", "evaluate-stripes": "stripes"}
RUNS = {"first": "bag_of_tricks"}  # the recipes of runs
HOMES = {
    "detectors": "cion_core.extract.detectors",
    "trackers": "cion_core.extract.trackers",
    "embedders": "cion_core.embed.embedders",
    "linking": "cion_core.denoise.linking.rules",
    "layouts": "cion_core.benchmark.layouts",
    "methods": "cion_core.pretrain.methods",
    "runs": "cion_core.finetune.recipes",
}
STAGES = (
    "ingest",
    "extract",
    "embed",
    "denoise@tracklet",
    "denoise@video",
    "denoise@cross_video",
    "audit",
    "benchmark@demo",
    "pretrain@random-resnet10_ibn",
    "pretrain@lup-resnet10_ibn",
    "pretrain@cion-resnet10_ibn",
    "start@first",
    "finetune@cion-resnet10_ibn-first",
    "evaluate@cion-resnet10_ibn-demo",
    "evaluate-run@cion-resnet10_ibn-first-demo",
    "evaluate-stripes@demo",
    "compare",
)


def loaded(project: Project, stage: str) -> set[str]:
    """The modules that the processes of a stage had imported when they ended."""
    files = list(project.traced.glob(f"{stage}.*.json"))
    assert files, f"{stage} has not run"
    return {name for file in files for name in json.loads(file.read_text())}


def reached(folder: Path, roots: set[str]) -> set[str]:
    """All that the roots import, and what that imports."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        if module not in found and not module.startswith(SILENT):
            found.add(module)
            waiting += imports(folder, module, lazy=True)
    return found


def says_nothing(path: Path) -> bool:
    """Whether a module is a docstring alone."""
    return all(isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body)


def listed(project: Project, stage: str) -> tuple[set[Path], set[str]]:
    """The files of code that a stage depends on, and the modules of the parts that it uses."""
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"][stage]
    files, parts = set(), set()
    for dep in (dep["path"] for dep in lock["deps"]):
        path = project.folder / dep
        if dep.startswith("data/listing/parts/"):
            kind, name = dep.split("/")[3:5]
            if (stage.partition("@")[0], kind) in PARTLY:
                continue
            links = [link for link in path.rglob("*") if link.is_symlink()]
            files |= {link.resolve() for link in links}
            parts |= {f"{HOMES[kind]}.{RUNS.get(name, name)}"}
        elif dep.split("/")[0] in PACKAGES:
            files |= {path} if path.is_file() else set(path.rglob("*.py"))
    return files, parts


def compared(project: Project, stage: str) -> dict[str, list[str]]:
    """The files that a stage imports and dvc.yaml does not list, and the listed of no use to it."""
    modules = module_files(project.folder)
    files, parts = listed(project, stage)
    name = stage.partition("@")[0]
    roots = {f"cion_core.{MODULES.get(name, f'{name}.stage')}", *parts}
    roots |= {f"{HOMES['embedders']}.{CARDS[name]}"} if name in CARDS else set()
    used = reached(project.folder, roots) & loaded(project, stage)
    packages = {module.rpartition(".")[0] for module in used} & set(modules)
    wanted = {modules[module] for module in used | packages if not says_nothing(modules[module])}
    offered = project.folder / OFFERED.get(name.partition("-")[0], "")
    found = {path for path in files if not says_nothing(path)} - {offered}

    def names(paths: set[Path]) -> list[str]:
        return sorted(path.relative_to(project.folder).as_posix() for path in paths)

    return {"missing": names(wanted - found), "of no use": names(found - wanted)}
