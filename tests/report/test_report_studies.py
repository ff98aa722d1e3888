"""Which studies the page shows: those of the footage and the benchmark that lie there now."""

from __future__ import annotations

from pathlib import Path

from cion_core import work
from cion_core.report import studies

ROWS = [
    {"level": level, "method": "cion", "seed": 0, "mAP": mAP}
    for level, mAP in (("none", 6.0), ("truth", 12.0))
]


def put(root: Path) -> None:
    """A study that was made on the crops of `root`."""
    crops = "tracklets/crops.parquet"
    work.write_json(
        root / "reports/studies/denoising.json",
        {
            "title": "What denoising gives",
            "axis": ["level", "identities after"],
            "panel": None,
            "columns": ["level"],
            "styles": {"cion": None},
            "data": {crops: work.sha256(root / crops)},
            "rows": ROWS,
            "means": ROWS,
        },
    )
    work.write_json(root / "listing/studies.json", {"denoising": "its hash"})


def test_none_where_none_is_listed(copy: Path) -> None:
    assert studies.describe_studies(copy) == []


def test_one_of_this_footage_is_drawn(copy: Path) -> None:
    put(copy)
    (found,) = studies.describe_studies(copy)
    assert (
        not found["other"]
        and "no level" in found["chart"]
        and "none cion 6.0; truth cion 12.0" in found["chart"]
    )


def test_one_of_other_footage_is_named_alone(copy: Path) -> None:
    put(copy)
    (copy / "tracklets/crops.parquet").write_bytes(b"others")
    (found,) = studies.describe_studies(copy)
    assert found["other"] and "chart" not in found
    (copy / "tracklets/crops.parquet").unlink()
    assert studies.describe_studies(copy)[0]["other"]
