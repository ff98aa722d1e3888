"""DVC's graph of stages: in which order they run, and on which machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import networkx
from dvc.repo import Repo
from dvc.stage import Stage

from cion_core import config, params
from cion_core.errors import CionError
from cion_core.runtime import Runtime


def stages(targets: Sequence[str] = ()) -> dict[str, list[str]]:
    """Each stage and those it needs, in an order that can be run.

    It is that of dvc.yaml where the graph allows it.

    Args:
        targets: stages or groups of them, which come with all they need; none: every stage of
            dvc.yaml. As with `dvc repro`, those of other files, such as studies/dvc.yaml, run where
            they are named.

    Raises:
        DvcException: no DVC repository here, an invalid dvc.yaml, an unknown target.
    """
    with Repo() as repo:
        graph = repo.index.graph  # from a stage to what it needs
        place = {stage: position for position, stage in enumerate(repo.index.stages)}
        wanted = {
            stage for target in targets or ("dvc.yaml",) for stage in repo.stage.collect(target)
        }
        wanted |= {needed for stage in wanted for needed in networkx.descendants(graph, stage)}
        order = networkx.lexicographical_topological_sort(
            graph.subgraph(wanted).reverse(), key=place.get
        )
        return {
            stage.addressing: [needed.addressing for needed in graph.successors(stage)]
            for stage in order
        }


def pools_of(names: Iterable[str]) -> dict[str, list[str]]:
    """The work pools that may run each of these stages, by `runtime.pools` of params.yaml.

    Returns:
        {stage: pools in the order of params.yaml}, for example {"embed": ["cpu", "gpu"]}; a stage
        without any runs here.

    Raises:
        CionError: `runtime.pools` names a stage that there is not, or one that only the flow's own
            folder can run.
    """
    runtime = params.read().get("runtime", {}) if params.FILE.exists() else {}
    pools = config.checked(runtime, Runtime, params.FILE).pools
    names = list(names)
    if not pools:
        return {name: [] for name in names}
    _check(pools)
    return {
        name: [pool for pool, members in pools.items() if {name, group_of(name)} & set(members)]
        for name in names
    }


def group_of(name: str) -> str:
    """The name in dvc.yaml: `denoise` of `denoise@video`."""
    return name.partition("@")[0]


def _check(pools: Mapping[str, Sequence[str]]) -> None:
    """Raise CionError, with the pool, for a stage that there is not or that cannot travel."""
    with Repo() as repo:
        known = {stage.addressing: stage for stage in repo.index.stages}
    by_group = {group_of(name): stage for name, stage in known.items()}
    for pool, members in pools.items():
        for name in members:
            stage = known.get(name) or by_group.get(name)
            if stage is None:
                raise CionError(
                    f"params.yaml: runtime.pools.{pool}: no stage {name}; `dvc stage list` shows "
                    "all"
                )
            if not travels(stage):
                raise CionError(
                    f"params.yaml: runtime.pools.{pool}: {name} runs where the flow runs, since "
                    "not all that it makes is in DVC's cache; take it out of the list"
                )


def travels(stage: Stage) -> bool:
    """Whether all that a stage makes can go through a DVC remote."""
    return not stage.always_changed and all(out.use_cache for out in stage.outs)
