"""A stage that another folder makes for this one, over a DVC remote: what goes and comes.

The two folders have a git revision and a DVC remote in common, and no disk. What the stage needs is
in three places:

    in git     code, params.yaml, small models: both folders have them, which is checked first
    in DVC     what earlier stages made: pushed from here, and named by their entries in dvc.lock
    nowhere    what `list` made, which lies beside the cache: it is sent along

What comes back is the stage's entry of dvc.lock. With it this folder pulls what the stage has made,
and DVC finds nothing more to do.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dvc.output import Output
from dvc.repo import Repo
from dvc.stage import Stage
from dvc.utils.serialize import modify_yaml

from cion_core import work
from flows.commands import StageFailed

# Characters of an order; a Prefect server takes parameters of half a megabyte.
LIMIT = 400_000


@dataclass(frozen=True)
class Order:
    """What a worker must know of a stage.

    Attributes:
        stage: its address, such as denoise@video.
        sender: the machine and folder of the flow; see `here`.
        needed: the stages that make its inputs.
        entries: {lock file: {name: entry}} of these, and of the stage itself if it has been made
            before.
        files: the text of inputs that are in neither git nor DVC's cache, by path.
        links: likewise where links among them point to.
        inputs: the hash of each dependency and the values of its parameters, by path.
    """

    stage: str
    sender: str
    needed: list[str] = field(default_factory=list)
    entries: dict[str, dict[str, dict]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)


def here() -> str:
    """This machine and folder."""
    return f"{platform.node()}:{Path.cwd()}"


def make_order(name: str) -> Order:
    """What another folder must know to make the stage `name` as this one would.

    Raises:
        StageFailed: more would have to be sent along than Prefect takes.
        DvcException: an input is missing.
    """
    with Repo() as repo, repo.lock:
        (stage,) = repo.stage.collect(name)
        makers = [maker for maker in repo.index.graph.successors(stage) if _cached(maker)]
        entries: dict[str, dict[str, dict]] = {}
        for known in (*makers, stage):
            if (entry := _read_entry(known)) is not None:
                entries.setdefault(_lock_file(known), {})[known.name] = entry
        files, links = _uncached_inputs(repo, stage)
        needed = [maker.addressing for maker in makers]
        order = Order(name, here(), needed, entries, files, links, _inputs(stage))
    size = len(json.dumps(asdict(order)))
    if size > LIMIT:
        raise StageFailed(
            f"{name}: {size / 1e6:.1f} MB of lists would go with it to another machine, and a "
            f"Prefect server takes {LIMIT / 1e6:.1f}. Take it out of runtime.pools: it runs where "
            "the flow runs"
        )
    return order


def receive_order(order: Order) -> None:
    """Write what came along, and let this folder's dvc.lock name the inputs for `dvc pull`."""
    for path, text in order.files.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with work.atomic(path) as temporary:
            temporary.write_text(text)
    for path, target in order.links.items():
        link = Path(path)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    with Repo() as repo, repo.lock:
        for lock_file, entries in order.entries.items():
            _write_entries(lock_file, entries)


def check_inputs(order: Order) -> None:
    """Compare what the stage would get here with what it gets in the flow's folder.

    Raises:
        StageFailed: they differ; with the names.
    """
    with Repo() as repo, repo.lock:
        (stage,) = repo.stage.collect(order.stage)
        found = _inputs(stage)
    paths = order.inputs.keys() | found.keys()
    different = sorted(path for path in paths if order.inputs.get(path) != found.get(path))
    if different:
        raise StageFailed(
            f"{order.stage}: {here()} is not what the flow runs. Different: "
            f"{', '.join(different[:5])}{' and more' if len(different) > 5 else ''}. Bring both "
            "folders to one git revision, then run again"
        )


def entry_of(name: str) -> dict:
    """The entry of dvc.lock of a stage that has been made here."""
    with Repo() as repo:
        (stage,) = repo.stage.collect(name)
        return _read_entry(stage)


def write_entry(name: str, entry: dict) -> None:
    """Write a stage's entry, which another folder has made, into dvc.lock."""
    with Repo() as repo, repo.lock:
        (stage,) = repo.stage.collect(name)
        _write_entries(_lock_file(stage), {stage.name: entry})


def is_made(name: str) -> bool:
    """Whether DVC finds nothing to do for a stage in this folder."""
    return not _changes(name)


def check_made(name: str) -> None:
    """Raise StageFailed if DVC would make the stage again."""
    if changes := _changes(name):
        raise StageFailed(
            f"{name}: made elsewhere, but DVC would make it again: {json.dumps(changes)[:500]}"
        )


def _changes(name: str) -> dict:
    """What DVC finds changed about a stage; nothing where it would not run."""
    with Repo() as repo:
        return repo.status(targets=[name])


def _cached(stage: Stage) -> bool:
    """Whether DVC's cache has anything that the stage makes."""
    return any(out.use_cache for out in stage.outs)


def _inputs(stage: Stage) -> dict[str, Any]:
    """The hash of each dependency, and the values of its parameters, by path."""
    stage.save_deps()
    return {dep.def_path: dep.hash_info.value for dep in stage.deps}


def _uncached_inputs(repo: Repo, stage: Stage) -> tuple[dict[str, str], dict[str, str]]:
    """What the stage needs and neither git nor DVC's cache has.

    Returns:
        {path: text} of files, and {path: where it points} of links.
    """
    roots = [out.fs_path for out in repo.index.outs if not out.use_cache and _is_listed(out)]
    files: dict[str, str] = {}
    links: dict[str, str] = {}
    for dep in stage.deps:
        if not any(repo.fs.isin_or_eq(dep.fs_path, root) for root in roots):
            continue
        top = Path(dep.def_path)
        for path in sorted(top.rglob("*")) if top.is_dir() and not top.is_symlink() else [top]:
            if path.is_symlink():
                links[path.as_posix()] = os.readlink(path)
            elif path.is_file():
                files[path.as_posix()] = path.read_text()
    return files, links


def _is_listed(out: Output) -> bool:
    """Whether a stage makes it that always runs: it depends on the machine; git has it not."""
    return out.stage.always_changed


def _lock_file(stage: Stage) -> str:
    """The lock file beside the stage's file, below the project: dvc.lock, studies/dvc.lock."""
    return os.path.relpath(Path(stage.path).with_suffix(".lock"), stage.repo.root_dir)


def _read_entry(stage: Stage) -> dict | None:
    """The stage's entry in its lock file."""
    return stage.dvcfile.lockfile_contents.get("stages", {}).get(stage.name)


def _write_entries(lock_file: str, entries: dict[str, dict]) -> None:
    """Add the entries of stages to a lock file, or put them in place of what it has of them."""
    with modify_yaml(lock_file) as lock:
        lock.setdefault("schema", "2.0")
        lock.setdefault("stages", {}).update(entries)
