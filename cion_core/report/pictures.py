"""The contact sheets of the page: crops level by level, and what models retrieve."""

from __future__ import annotations

from pathlib import Path

from cion_core import tables
from cion_core.project import Params
from cion_core.report import comparison, level_sheets, sheets
from cion_core.report.comparison import NO_BACKBONE, Evaluation
from cion_core.zoo.card import FROZEN


def make_level_sheets(root: Path) -> dict[str, list[sheets.Row]]:
    """The contact sheet of each level."""
    crops = tables.read(tables.Crops, root / "tracklets/crops.parquet")
    known = tables.read(tables.People, root / "audit/people.parquet")
    # NaN without truth.
    people = known.set_index("crop").person.reindex(crops.crop).to_numpy(float)
    read = sheets.crop_reader(root, crops)
    makers = (level_sheets.show_tracklets, level_sheets.show_merges, level_sheets.show_links)
    made = {}
    for level, make in zip(tables.LEVELS, makers, strict=True):
        made[level] = make(level_sheets.read_level(root, level, crops, people), read)
    return made


def make_retrieval_sheet(params: Params, root: Path, rows: list[dict]) -> list[sheets.Row]:
    """Ranked lists of frozen CION, and of the frozen model beside it with the highest mAP.

    They are of the first benchmark, and both models have the first backbone; stripes stand in only
    where nothing else does. Without CION, they are those of the two best.
    """
    benchmark = rows[0]["benchmark"]
    backbones = (params.pretrain.backbones[0], NO_BACKBONE)
    frozen = []
    for row in rows:
        if row["benchmark"] == benchmark and row["run"] == FROZEN and row["backbone"] in backbones:
            frozen.append(row)

    def rank(row: dict) -> tuple[bool, bool, float]:
        is_other = row["method"] != comparison.OWN
        return is_other, row["backbone"] == NO_BACKBONE, -row["mAP"]

    frozen.sort(key=rank)
    ranked = {}
    for row in frozen[:2]:
        folder = Evaluation.from_row(row).folder(root)
        ranked[row["method"]] = tables.read(tables.Ranked, folder / "ranked.parquet")
    return sheets.show_retrieval(ranked, sheets.read_picture)
