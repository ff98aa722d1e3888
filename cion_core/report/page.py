"""The report: one HTML page that carries its pictures, charts and style with it."""

from __future__ import annotations

from pathlib import Path

import jinja2
import numpy as np
import pandas as pd

from cion_core import params, tables
from cion_core.audit import scores as audit
from cion_core.report import comparison as found
from cion_core.report import plots, sheets, whys

BASELINES = (
    "dino",
    "lup",
    "pnl",
    "tracklet",
    "random",
    "stripes",
)  # what cion's ranked lists stand beside: the first there is
NAMES = {
    None: ("Tracklets", "as the tracker left them"),
    "tracklet": ("① Single tracklet", "crops far from their tracklet’s centre are dropped"),
    "video": ("② Single video", "tracklets of one person are merged, stray crops moved"),
    "cross_video": ("③ Across videos", "identities are linked from video to video"),
}
TRUTHS = {
    "crops": "Pairs of crops",
    "tracklets": "Pairs of tracklets",
    "cross_video": "… of different videos",
    "bcubed": "BCubed",
}
KNOBS = (
    "ingest.source", "extract.detector", "embed.model", "denoise.radius", "denoise.separation",
    "denoise.false_link_rate", "denoise.linking", "benchmark.source", "pretrain.steps", "pretrain.batch",
    "pretrain.image", "pretrain.seed", "finetune.steps", "finetune.seed",
)  # fmt: skip


def render(p: params.Params, root: Path, rows: list[dict], states: list[dict], training: pd.DataFrame) -> str:
    """The whole page as text; the same inputs give the same bytes."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cion_core.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    environment.filters["change"] = lambda value: f"{value:+.1f}".replace("-", "−")
    environment.filters["count"] = lambda value: "–" if value is None else f"{value:,}".replace(",", "\u202f")
    return environment.get_template("page.html").render(
        footage=footage(root),
        states=states,
        truths={k: v for k, v in TRUTHS.items() if states[-1]["truth"] and k in states[-1]["truth"]},
        previous={s["level"]: before for before, s in zip([None, *states], states, strict=False)},
        names=NAMES,
        actions=[a for a in tables.ACTIONS if any(s["audit"] and s["audit"]["actions"].get(a) for s in states)],
        table=table(rows),
        scores=found.SCORES,
        best=best(rows),
        verdict=verdict(rows),
        headline=headline(rows),
        benchmark=found.load_json(root / "benchmark/benchmark.json"),
        bars=plots.bars(rows),
        curves={stage: plots.curves(training, stage) for stage in training.stage.unique()},
        schedules=plots.schedules(runs, found.SCHEDULED) if (runs := found.schedules(p, root)) else "",
        calibration=(curves := calibration(states)),
        calibrated=plots.calibration(curves) if curves else "",
        sheets=level_sheets(root),
        ways=whys.ways(p.denoise, root),
        retrieval=retrieval(p, root),
        settings={knob: knob_value(p, knob) for knob in KNOBS},
    )


def footage(root: Path) -> dict:
    """What went in: counts of videos, and those set aside with the reason."""
    ingest, extract = (found.load_json(root / name) for name in ("raw/ingest.json", "tracklets/extract.json"))
    videos = tables.read(tables.Videos, root / "raw/videos.parquet")
    return {
        "videos": len(videos),
        "groups": videos.group.nunique(),
        "minutes": float((videos.frames / videos.fps).sum() / 60),
        "aside": [*ingest["set_aside"], *extract["set_aside"]],
    }


def table(rows: list[dict]) -> list[dict]:
    """One line per model with its `frozen` and `finetuned` rows (None where it was not so evaluated)."""
    lines: dict = {}
    for row in rows:
        line = lines.setdefault(
            (row["method"], row["backbone"], row["benchmark"]),
            {"method": row["method"], "backbone": row["backbone"], "what": found.METHODS[row["method"]]}
            | dict.fromkeys(found.SETTINGS),
        )
        line[row["setting"]] = row
    return list(lines.values())


def best(rows: list[dict]) -> dict[tuple[str, str], float]:
    """The highest score of each (setting, score) column."""
    return {
        (s, k): max((r[k] for r in rows if r["setting"] == s), default=0.0)
        for s in found.SETTINGS
        for k in found.SCORES
    }


def headline(rows: list[dict]) -> dict | None:
    """The frozen row of cion with the highest mAP."""
    own = [row for row in rows if row["method"] == "cion" and row["setting"] == "frozen"]
    return max(own, key=lambda row: row["mAP"], default=None)


def verdict(rows: list[dict]) -> list[dict]:
    """How far cion's frozen mAP lies above (below: negative) each other method's on its backbone: {method, by}."""
    own = headline(rows)
    if own is None:
        return []
    return [
        {"method": row["method"], "by": own["mAP"] - row["mAP"]}
        for row in rows
        if row["setting"] == "frozen" and row["method"] != "cion" and row["backbone"] in (own["backbone"], "none")
    ]


def calibration(states: list[dict]) -> dict[str, dict]:
    """The thresholds that levels found from the data and their curves, by a title such as `① radius`."""
    found_by_level = {NAMES[s["level"]][0][0]: s["audit"]["calibration"] or {} for s in states if s["audit"]}
    return {f"{sign} {name}": c for sign, curves in found_by_level.items() for name, c in curves.items() if c["points"]}


def level_sheets(root: Path) -> dict[str, list[sheets.Row]]:
    """The contact sheet of each level."""
    crops = tables.read(tables.Crops, root / "tracklets/crops.parquet")
    read = sheets.store_reader(root, crops)
    makers = dict(zip(tables.LEVELS, (sheets.tracklets, sheets.merges, sheets.links), strict=True))
    truth = tables.read(tables.Truth, root / "raw/truth.parquet")
    people = audit.people(crops, truth) if len(truth) else np.full(len(crops), np.nan)
    return {level: make(sheets.read_level(root, level, crops, people), read) for level, make in makers.items()}


def retrieval(p: params.Params, root: Path) -> list[sheets.Row]:
    """Ranked lists of cion's first backbone beside a baseline's; of what there is without cion."""
    available = [m for m in ("cion", *BASELINES) if m in p.pretrain.methods or m == "stripes"]
    lists = {}
    for method in available[:2]:
        folder = method if method == "stripes" else f"{method}-{p.pretrain.backbones[0]}"
        lists[method] = tables.read(tables.Ranked, root / "evaluate" / folder / "ranked-frozen.parquet")
    return sheets.retrieval(lists, sheets.file_reader)


def knob_value(p: params.Params, knob: str) -> str:
    """A parameter by its dotted name, as text."""
    section, key = knob.split(".")
    value = getattr(getattr(p, section), key)
    if isinstance(value, params.Section):
        return ", ".join(f"{k} {v}" for k, v in value.model_dump().items())
    return " × ".join(map(str, value)) if isinstance(value, tuple) else str(value)
