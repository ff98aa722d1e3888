"""The audit's runs of the levels on a Ray cluster: the same files as on one machine."""

from __future__ import annotations

import operator
from pathlib import Path

import pytest
from made_up import shuffled_footage

from cion_core import tables
from cion_core.audit import stage
from cion_core.denoise import stage as denoising
from cion_core.denoise.settings import Denoise
from cion_core.errors import CionError
from cion_core.runtime import Runtime

pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")
from cion_core.cluster.mapped import mapped

pytestmark = pytest.mark.slow  # clusters are begun


def test_planted_errors_are_those_of_one_machine(
    machines, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(denoising, "record", lambda *_: None)  # MLflow has tests of its own
    monkeypatch.setattr(stage, "record", lambda *_: None)
    settings, data = Denoise(min_crops=2), workspace / "data"
    shuffled_footage(data)
    for level in tables.LEVELS:
        denoising.run(settings, level, root=data)

    def written(runtime: Runtime) -> dict[str, bytes]:
        stage.run(settings, runtime, data)
        return {path.name: path.read_bytes() for path in (data / "audit").iterdir()}

    on_one_machine = written(Runtime())
    assert b'"planted"' in on_one_machine["planted.json"]
    assert written(Runtime(engine="ray")) == on_one_machine


def test_results_are_in_the_order_of_the_calls_and_a_failure_is_told(
    machines, workspace: Path
) -> None:
    assert mapped(operator.floordiv, [7, 8, 9], [7, 2, 3]) == [1, 4, 3]
    with pytest.raises(CionError, match=r"call 2 of 2: working on it failed twice: ZeroDivision"):
        mapped(operator.floordiv, [1, 1], [1, 0])
