"""Where a model folder comes from, as far as the files around it tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from cion_core import zoo
from cion_core.deploy import provenance
from cion_core.tracking import model_registry

DEPS = {
    "data/tracklets": "a1",
    "cion_core/zoo": "b2",
    "demo_world": "c3",
    "data/listing/parts/methods/cion": "d4",
}


@pytest.mark.parametrize(
    ("changed", "same"), [(None, True), *((name, name != "data/tracklets") for name in DEPS)]
)
def test_the_data_of_a_model_are_what_its_stage_read_but_for_code(
    changed: str | None, same: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parents[2])
    monkeypatch.setattr(model_registry, "find_training_run", lambda *_: "")
    card = zoo.load(folder)[1]
    found = []
    for deps in (DEPS, DEPS | ({changed: "other"} if changed else {})):
        listed = ", ".join(f"{{path: {path}, md5: {md5}}}" for path, md5 in deps.items())
        name = folder.relative_to(folder.parents[2])
        Path("dvc.lock").write_text(
            f"stages: {{pretrain: {{deps: [{listed}], outs: [{{path: {name}, md5: x}}]}}}}"
        )
        found.append(provenance.complete_card(folder, card).data)
    assert (found[0] == found[1]) == same and len(found[0]) == 16
