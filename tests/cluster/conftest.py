"""A Ray cluster of two machines, which are two raylets of this one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from films import film, ingested  # noqa: F401
from own_parts import own_file  # noqa: F401

from cion_core import params
from cion_core.extract.settings import Extract

STORE = 80 * 2**20  # bytes of shared memory for what Ray passes on, the least that it takes


@dataclass
class Machines:
    """`first` runs the stage as well; `second` can be lost."""

    cluster: Any
    first: Any
    second: Any

    def lose_second(self) -> None:
        """As if its power was cut."""
        self.cluster.remove_node(self.second, allow_graceful=False)

    def processes_of_second(self) -> list[psutil.Process]:
        """Its raylet's children, and theirs."""
        (raylet,) = self.second.all_processes["raylet"]
        return psutil.Process(raylet.process.pid).children(recursive=True)


@pytest.fixture
def machines(workspace: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    """Two machines with a processor each.

    They see the workspace at the same path, and import what is tested.
    """
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(project), str(project / "tests")]))
    machine = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=machine)
    try:
        second = cluster.add_node(**machine)
        ray.init(address=cluster.address, logging_level="warning", log_to_driver=False)
        yield Machines(cluster, cluster.head_node, second)
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def settings(project: Path) -> Extract:
    """params.yaml's extract section."""
    return Extract.model_validate(params.read(project / "params.yaml")["extract"])
