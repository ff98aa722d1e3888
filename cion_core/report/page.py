"""The report: one HTML page that carries its pictures, charts and style with it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import pandas as pd

from cion_core import tables
from cion_core.config import Section
from cion_core.denoise.linking.rules import RULES
from cion_core.pretrain import sightings
from cion_core.project import Params
from cion_core.report import benchmarks, certain, costs, plots, sheets, sliding, studies, whys
from cion_core.report import comparison as found
from cion_core.report.differences import Sure
from cion_core.zoo.card import FROZEN

if TYPE_CHECKING:
    from cion_core.finetune.settings import Run

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
    "denoise.false_link_rate", "denoise.linking", "benchmark.sources", "benchmark.layout", "pretrain.steps",
    "pretrain.batch", "pretrain.image", "pretrain.seed", "finetune.runs", "finetune.seed",
)  # fmt: skip


def render(
    p: Params,
    root: Path,
    rows: list[dict],
    sure: Sure,
    cost: dict[found.Evaluation, costs.Cost],
    states: list[dict],
    training: pd.DataFrame,
) -> str:
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
    titles = costs.titles(cost)
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    environment.filters["change"] = lambda value: f"{value:+z.1f}".replace("-", "−")
    environment.filters["count"] = count
    return environment.get_template("page.html").render(
        footage=footage(root),
        states=states,
        truths={k: v for k, v in TRUTHS.items() if states[-1]["truth"] and k in states[-1]["truth"]},
        previous={s["level"]: before for before, s in zip([None, *states], states, strict=False)},
        names=NAMES,
        actions=[a for a in tables.ACTIONS if any(s["audit"] and s["audit"]["actions"].get(a) for s in states)],
        benchmarks=benchmarks.told(p, root, rows, sure, cost, methods, drawn),
        saw=[titles[name] for name in costs.SAW],
        costs=titles,
        columns=[found.SCORES[name] for name in benchmarks.COLUMNS],
        own=found.OWN,
        scores=found.SCORES,
        headline=benchmarks.headline(rows),
        rivals=benchmarks.rivals(rows, sure),
        searches=benchmarks.searches(p, root, rows, drawn),
        up=benchmarks.UP,
        down=benchmarks.DOWN,
        cameras_style=certain.CAMERAS_STYLE,
        curves=losses(p, training, drawn),
        schedules=plots.schedules(runs, found.SCHEDULED, drawn) if (runs := found.schedules(p, root, methods)) else "",
        calibration=(curves := calibration(states)),
        calibrated=plots.calibration(curves) if curves else "",
        seen=sightings.histogram(seen, "videos"),
        again=sightings.again(seen),
        warning=sightings.warning(seen),
        histograms=plots.histograms({of: sightings.histogram(seen, of) for of in sightings.OF}),
        sheets=level_sheets(root),
        sliding=sliding.told(root),
        drawn_positions=sliding.POSITIONS,
        ways=whys.ways(p.denoise, root),
        retrieval=retrieval(p, root, rows),
        adapts=RULES.named(p.denoise.linking).adapts,
        settings={knob: knob_value(p, knob) for knob in KNOBS},
        studies=studies.told(root),
    )


def footage(root: Path) -> dict:
    """What went in: counts of videos, the shots of those that are cut, and what was lost."""
    ingest, extract = (found.load_json(root / name) for name in ("raw/ingest.json", "tracklets/extract.json"))
    videos = tables.read(tables.Videos, root / "raw/videos.parquet")
    return {
        "videos": len(videos),
        "groups": videos.group.nunique(),
        "minutes": float((videos.frames / videos.fps).sum() / 60),
        "kept_out": sum((Counter(row.get("kept_out", {})) for row in extract["videos"]), Counter()),
        "faces": sum(row.get("faces_blurred", 0) for row in extract["videos"]),
        "crops": extract["crops"],
        "cut": {row["video"]: row["shots"] for row in extract["videos"] if row.get("shots", 1) > 1},
        "damaged": [row for row in extract["videos"] if row.get("frames_lost") or row.get("frames_damaged")],
        "aside": [*ingest["set_aside"], *extract["set_aside"]],
    }


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
    """Ranked lists of OWN's first backbone beside its strongest rival's, frozen, on the first benchmark.

    The rival is the best of the trained methods. Without OWN: the two best of what there is.
    """
    benchmark, backbone = rows[0]["benchmark"], p.pretrain.backbones[0]
    frozen = [
        row for row in rows
        if (row["benchmark"], row["run"]) == (benchmark, FROZEN) and row["backbone"] in (backbone, "none")
    ]  # fmt: skip
    ranked = sorted(frozen, key=lambda row: (row["method"] != found.OWN, row["backbone"] == "none", -row["mAP"]))
    folders = {row["method"]: found.Evaluation.of(row).folder(root) for row in ranked[:2]}
    lists = {method: tables.read(tables.Ranked, folder / "ranked.parquet") for method, folder in folders.items()}
    return sheets.retrieval(lists, sheets.file_reader)


def losses(p: Params, training: pd.DataFrame, drawn: plots.Styles) -> dict[str, str]:
    """The curves of pre-training and of each run that has any, by what they are."""
    names = {"pretrain": "Pre-training"} | {name: f"{name}, {run_value(run)}" for name, run in p.finetune.runs.items()}
    return {names[stage]: plots.curves(training, stage, drawn) for stage in training.stage.unique()}


def knob_value(p: Params, knob: str) -> str:
    """A parameter by its dotted name, as text."""
    section, key = knob.split(".")
    value = getattr(getattr(p, section), key)
    if isinstance(value, dict):
        told = {name: run_value(of) if isinstance(of, Section) else of for name, of in value.items()}
        return "; ".join(f"{name}: {of}" for name, of in told.items()) or "none"
    if isinstance(value, Section):
        return ", ".join(f"{k} {v}" for k, v in value.model_dump().items())
    return " × ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def run_value(run: Run) -> str:
    """`bag_of_tricks on demo`, and what it starts from where that is another run."""
    return f"{run.recipe} on {run.on}" + (f" after {run.before}" if run.before else "")


def count(value: float | None, decimals: int = 0) -> str:
    """A number with thin spaces between thousands; a dash where there is none."""
    return "–" if value is None else f"{value:,.{decimals}f}".replace(",", "\u202f")
