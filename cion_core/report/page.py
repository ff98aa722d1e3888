"""The report: one HTML page that carries its pictures, charts and style with it."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pandas as pd

from cion_core import tables
from cion_core.config import Section
from cion_core.denoise.linking.rules import RULES
from cion_core.pretrain import sightings
from cion_core.project import Params
from cion_core.report import comparison as found
from cion_core.report import plots, sheets, whys

OWN = "cion"  # the method that the page is about: others stand beside it
NAMES = {
    None: ("Tracklets", "as the tracker left them"),
    "tracklet": (
        "① Single tracklet",
        "tracklets are cut where somebody else begins, crops far from the others dropped",
    ),
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
    "ingest.source", "extract.detector", "embed.model", "denoise.cut", "denoise.radius", "denoise.separation",
    "denoise.false_link_rate", "denoise.linking", "benchmark.source", "benchmark.layout", "pretrain.steps",
    "pretrain.batch", "pretrain.image", "pretrain.seed", "finetune.recipe", "finetune.seed",
)  # fmt: skip


def render(p: Params, root: Path, rows: list[dict], states: list[dict], training: pd.DataFrame) -> str:
    """The whole page as text; the same inputs give the same bytes."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cion_core.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    methods = found.described(p, root)
    drawn, seen = plots.styles(methods), found.seen(root)
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
        table=table(rows, methods),
        own=OWN,
        scores=found.SCORES,
        best=best(rows),
        verdict=verdict(rows),
        headline=headline(rows),
        benchmark=found.load_json(root / "benchmark/benchmark.json"),
        bars=plots.bars(rows, drawn),
        curves={stage: plots.curves(training, stage, drawn) for stage in training.stage.unique()},
        schedules=plots.schedules(runs, found.SCHEDULED, drawn) if (runs := found.schedules(p, root, methods)) else "",
        calibration=(curves := calibration(states)),
        calibrated=plots.calibration(curves) if curves else "",
        seen=sightings.histogram(seen, "videos"),
        again=sightings.again(seen),
        warning=sightings.warning(seen),
        histograms=plots.histograms({of: sightings.histogram(seen, of) for of in sightings.OF}),
        sheets=level_sheets(root),
        ways=whys.ways(p.denoise, root),
        retrieval=retrieval(p, root, rows),
        adapts=RULES.named(p.denoise.linking).adapts,
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


def table(rows: list[dict], methods: dict[str, dict]) -> list[dict]:
    """One line per model with its `frozen` and `finetuned` rows (None where it was not so evaluated)."""
    lines: dict = {}
    for row in rows:
        line = lines.setdefault(
            (row["method"], row["backbone"], row["benchmark"]),
            {"method": row["method"], "backbone": row["backbone"], "what": methods[row["method"]]["about"]}
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
    own = [row for row in rows if row["method"] == OWN and row["setting"] == "frozen"]
    return max(own, key=lambda row: row["mAP"], default=None)


def verdict(rows: list[dict]) -> list[dict]:
    """How far cion's frozen mAP lies above (below: negative) each other method's on its backbone: {method, by}."""
    own = headline(rows)
    if own is None:
        return []
    return [
        {"method": row["method"], "by": own["mAP"] - row["mAP"]}
        for row in rows
        if row["setting"] == "frozen" and row["method"] != OWN and row["backbone"] in (own["backbone"], "none")
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
    known = tables.read(tables.People, root / "audit/people.parquet").set_index("crop").person
    people = known.reindex(crops.crop).to_numpy(float)  # NaN without truth
    return {level: make(sheets.read_level(root, level, crops, people), read) for level, make in makers.items()}


def retrieval(p: Params, root: Path, rows: list[dict]) -> list[sheets.Row]:
    """Ranked lists of OWN's first backbone beside its strongest rival's, the best frozen of the trained methods.

    Without OWN: the two best of what there is.
    """
    backbone = p.pretrain.backbones[0]
    frozen = [row for row in rows if row["setting"] == found.SETTINGS[0] and row["backbone"] in (backbone, "none")]
    ranked = sorted(frozen, key=lambda row: (row["method"] != OWN, row["backbone"] == "none", -row["mAP"]))
    lists = {}
    for row in ranked[:2]:
        folder = row["method"] if row["backbone"] == "none" else f"{row['method']}-{backbone}"
        lists[row["method"]] = tables.read(tables.Ranked, root / "evaluate" / folder / "ranked-frozen.parquet")
    return sheets.retrieval(lists, sheets.file_reader)


def knob_value(p: Params, knob: str) -> str:
    """A parameter by its dotted name, as text."""
    section, key = knob.split(".")
    value = getattr(getattr(p, section), key)
    if isinstance(value, Section):
        return ", ".join(f"{k} {v}" for k, v in value.model_dump().items())
    return " × ".join(map(str, value)) if isinstance(value, tuple) else str(value)
