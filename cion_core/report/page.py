"""The report: one HTML page that carries its pictures, charts and style with it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import pandas as pd

from cion_core import tables, templates
from cion_core.config import Section
from cion_core.denoise.linking.rules import RULES
from cion_core.pretrain import sightings
from cion_core.project import Params
from cion_core.report import (
    benchmark_table,
    benchmarks,
    comparison,
    crop_stories,
    pictures,
    plots,
    sliding_range,
    studies,
    trainings,
)
from cion_core.report.comparison import Evaluation, load_json
from cion_core.report.costs import PRETRAINING_COLUMNS, UNKNOWN, Cost, column_titles
from cion_core.report.differences import Certainty
from cion_core.report.evaluation_charts import CAMERAS_STYLE
from cion_core.report.labellings import count_sightings

if TYPE_CHECKING:
    from cion_core.finetune.settings import Run

# Each labelling: its name, and what was done to get it.
LABELLINGS = {
    None: ("Tracklets", "as the tracker left them"),
    "tracklet": (
        "① Single tracklet",
        "tracklets are cut where somebody else begins, crops far from the others dropped",
    ),
    "video": ("② Single video", "tracklets of one person are merged, stray crops moved"),
    "cross_video": ("③ Across videos", "identities are linked from video to video"),
}
# Titles of what is held against the truth.
TRUTHS = {
    "crops": "Pairs of crops",
    "tracklets": "Pairs of tracklets",
    "cross_video": "… of different videos",
    "bcubed": "BCubed",
}
# Settings that the page shows.
SHOWN_SETTINGS = (
    "ingest.source",
    "extract.detector",
    "embed.model",
    "denoise.cut",
    "denoise.radius",
    "denoise.separation",
    "denoise.false_link_rate",
    "denoise.linking",
    "benchmark.sources",
    "benchmark.layout",
    "pretrain.steps",
    "pretrain.batch",
    "pretrain.image",
    "pretrain.seed",
    "finetune.runs",
    "finetune.seed",
)
THIN_SPACE = "\u202f"
MINUS = "−"


def render(
    params: Params,
    root: Path,
    rows: list[dict],
    certainty: Certainty,
    costs: dict[Evaluation, Cost],
    labellings: list[dict],
    losses: pd.DataFrame,
) -> str:
    """The whole page as text; the same inputs give the same bytes.

    Args:
        params: all of params.yaml.
        root: the data folder.
        rows: as `comparison.read_rows` gives them.
        certainty: of the rows that are shown.
        costs: as `costs.read_costs` gives them.
        labellings: as `labellings.describe_labellings` gives them.
        losses: as `trainings.read_losses` gives them.

    Raises:
        CionError: the output of an earlier stage is missing or not readable.
    """
    methods = comparison.describe_methods(params, root)
    styles = plots.choose_styles(methods)
    template = _make_environment().get_template("page.html")
    return template.render(
        footage=summarise_footage(root),
        **_describe_comparison(params, root, rows, certainty, costs, methods, styles),
        **_describe_labels(root, labellings),
        **_describe_pictures(params, root, rows),
        **_describe_training(params, root, losses, methods, styles),
        settings={name: format_setting(params, name) for name in SHOWN_SETTINGS},
        studies=studies.describe_studies(root),
    )


def _make_environment() -> jinja2.Environment:
    """Jinja, with the filters that page.html uses."""
    environment = templates.make_environment("cion_core.report")
    environment.filters["percent"] = lambda fraction: f"{100 * fraction:.1f}"
    environment.filters["change"] = lambda change: f"{change:+z.1f}".replace("-", MINUS)
    environment.filters["count"] = format_number
    return environment


def _describe_comparison(
    params: Params,
    root: Path,
    rows: list[dict],
    certainty: Certainty,
    costs: dict[Evaluation, Cost],
    methods: dict[str, dict],
    styles: plots.Styles,
) -> dict[str, object]:
    """What the page says of models: tables, verdicts, open-set search."""
    titles = column_titles(costs)
    described = (rows, certainty, costs, methods, styles)
    return {
        "benchmarks": benchmarks.describe_benchmarks(params, root, *described),
        "headline": benchmarks.find_headline(rows),
        "rivals": benchmarks.rank_rivals(rows, certainty),
        "searches": benchmarks.draw_searches(params, root, rows, styles),
        "own": comparison.OWN,
        "scores": comparison.SCORES,
        "columns": [comparison.SCORES[score] for score in benchmark_table.COLUMNS],
        "pretraining_columns": [titles[column] for column in PRETRAINING_COLUMNS],
        "cost_columns": titles,
        "up": benchmark_table.UP,
        "down": benchmark_table.DOWN,
        "cameras_style": CAMERAS_STYLE,
    }


def _describe_labels(root: Path, labellings: list[dict]) -> dict[str, object]:
    """What the page says of identities: the levels, their thresholds, and who comes again."""
    known_truth = labellings[-1]["truth"] or {}
    curves = collect_calibration(labellings)
    sighted = count_sightings(root)
    histograms = {what: sightings.histogram(sighted, what) for what in sightings.COUNTED_BY}
    truth_before = {labellings[0]["level"]: None}
    for before, after in pairwise(labellings):
        truth_before[after["level"]] = before["truth"]
    return {
        "labellings": labellings,
        "labelling_names": LABELLINGS,
        "actions": _list_actions(labellings),
        "truths": {kind: title for kind, title in TRUTHS.items() if kind in known_truth},
        "truth_before": truth_before,
        "calibration": curves,
        "calibration_chart": plots.draw_calibration(curves) if curves else "",
        "seen": histograms["videos"],
        "again": sightings.shares_seen_again(sighted),
        "warning": sightings.warning(sighted),
        "histograms": plots.draw_histograms(histograms),
        "sliding": sliding_range.summarise(root),
        "drawn_positions": sliding_range.POSITIONS,
    }


def _list_actions(labellings: list[dict]) -> list[str]:
    """The actions that any level took, in the order of tables.ACTIONS."""
    taken = set()
    for labelling in labellings:
        if labelling["audit"]:
            counts = labelling["audit"]["actions"]
            taken |= {action for action, count in counts.items() if count}
    return [action for action in tables.ACTIONS if action in taken]


def _describe_pictures(params: Params, root: Path, rows: list[dict]) -> dict[str, object]:
    """What the page shows of crops: level by level, one by one, and as they are retrieved."""
    return {
        "sheets": pictures.make_level_sheets(root),
        "ways": crop_stories.show_ways(params.denoise, root),
        "adapts": RULES.named(params.denoise.linking).adapts,
        "retrieval": pictures.make_retrieval_sheet(params, root, rows),
    }


def _describe_training(
    params: Params,
    root: Path,
    losses: pd.DataFrame,
    methods: dict[str, dict],
    styles: plots.Styles,
) -> dict[str, object]:
    """The curves of pre-training and of each run that has any, by what they are; schedules."""
    names = {"pretrain": "Pre-training"}
    for name, run in params.finetune.runs.items():
        names[name] = f"{name}, {describe_run(run)}"
    curves = {}
    for training in losses.training.unique():
        curves[names[training]] = plots.draw_losses(losses, training, styles)

    schedules = trainings.read_schedules(params, root, methods)
    chart = ""
    if schedules:
        chart = plots.draw_schedules(schedules, trainings.SCHEDULED, styles)
    return {"curves": curves, "schedules": chart}


def summarise_footage(root: Path) -> dict:
    """What went in: counts of videos, the shots of films with cuts, and what was left out."""
    ingest = load_json(root / "raw/ingest.json")
    extract = load_json(root / "tracklets/extract.json")
    videos = tables.read(tables.Videos, root / "raw/videos.parquet")
    cut, damaged = {}, []
    kept_out: Counter[str] = Counter()
    faces = 0
    for video in extract["videos"]:
        kept_out += Counter(video.get("kept_out", {}))
        faces += video.get("faces_blurred", 0)
        if video.get("shots", 1) > 1:
            cut[video["video"]] = video["shots"]
        if video.get("frames_lost") or video.get("frames_damaged"):
            damaged.append(video)
    seconds = videos.frames / videos.fps
    return {
        "videos": len(videos),
        "groups": videos.group.nunique(),
        "minutes": float(seconds.sum() / 60),
        "kept_out": kept_out,
        "faces": faces,
        "crops": extract["crops"],
        "cut": cut,
        "damaged": damaged,
        "aside": [*ingest["set_aside"], *extract["set_aside"]],
    }


def collect_calibration(labellings: list[dict]) -> dict[str, dict]:
    """The thresholds that levels found from the data and their curves, by title as `① radius`."""
    curves = {}
    for labelling in labellings:
        if not labelling["audit"]:
            continue
        name, _ = LABELLINGS[labelling["level"]]
        sign = name[0]
        calibration = labelling["audit"]["calibration"] or {}
        for threshold, curve in calibration.items():
            if curve["points"]:
                curves[f"{sign} {threshold}"] = curve
    return curves


def format_setting(params: Params, name: str) -> str:
    """A setting as text, by its dotted name."""
    section, key = name.split(".")
    value = getattr(getattr(params, section), key)
    if isinstance(value, dict):
        entries = []
        for entry, content in value.items():
            text = describe_run(content) if isinstance(content, Section) else content
            entries.append(f"{entry}: {text}")
        return "; ".join(entries) or "none"
    if isinstance(value, Section):
        fields = value.model_dump().items()
        return ", ".join(f"{field} {number}" for field, number in fields)
    if isinstance(value, tuple):
        return " × ".join(str(number) for number in value)
    return str(value)


def describe_run(run: Run) -> str:
    """`bag_of_tricks on demo`, and what it starts from where that is another run."""
    text = f"{run.recipe} on {run.on}"
    return f"{text} after {run.before}" if run.before else text


def format_number(value: float | None, decimals: int = 0) -> str:
    """A number with thin spaces between thousands; UNKNOWN where there is none."""
    if value is None:
        return UNKNOWN
    return f"{value:,.{decimals}f}".replace(",", THIN_SPACE)
