"""`cion why`: the story of one crop on the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cion_core import project as whole
from cion_core import tables
from cion_core.audit import sentences
from cion_core.denoise import stage


def test_the_command_tells_every_level_and_names_what_has_not_run(
    root: Path, params: Path, cion: Callable
) -> None:
    code, output = cion("why", 2)
    assert (
        code == 1 and output.startswith("why: ") and "denoise/tracklet/identities.parquet" in output
    )
    p = whole.load(params).denoise
    for level in tables.LEVELS:
        stage.run(p, level, root=root)
    crops = tables.read(tables.Crops, root / "tracklets/crops.parquet").set_index("crop")
    ledger = tables.read(tables.Ledger, root / "denoise/cross_video/ledger.parquet")
    linked = ledger[ledger.action == "linked"].iloc[0]
    code, output = cion("why", linked.crop)
    assert code == 0, output
    where = crops.loc[linked.crop]
    assert (
        f"crop {linked.crop}: video {where.video}, frame {where.frame}, time {where.time_s:.1f} s"
        in output
    )
    assert sentences.sentence(linked) in output and "(in the space that linking adapts" in output
    assert [mark for mark in "①②③" if mark in output] == list("①②③")
    root.rename(root.with_name("moved"))
    assert cion("why", linked.crop, "--root", "moved") == (0, output)
    code, output = cion("why", 1, "--root", "moved")
    assert code == 1 and "crop 1: no such crop" in output
