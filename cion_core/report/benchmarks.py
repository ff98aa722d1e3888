"""The comparison as the page shows it, benchmark by benchmark: verdicts, plots, rivals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cion_core.project import Params
from cion_core.report import efficiency, evaluation_charts, published
from cion_core.report.benchmark_table import (
    Line,
    State,
    describe_training,
    format_costs,
    list_states,
    make_lines,
)
from cion_core.report.comparison import (
    NO_BACKBONE,
    OWN,
    TRANSFERRED,
    Evaluation,
    list_distinct,
    load_json,
    select_shown,
)
from cion_core.report.costs import TITLES, Cost
from cion_core.report.differences import Certainty, Difference, describe_leads
from cion_core.report.plots import Styles
from cion_core.report.published import Published
from cion_core.zoo.card import FROZEN


@dataclass(frozen=True)
class BenchmarkSection:
    """All that the page says of one benchmark.

    Attributes:
        about: its benchmark.json.
        states: the groups of columns of the table.
        lines: the models of the table.
        rows: every row of it, those included that the table leaves out, each with its cost, for
            people, by `costs.TITLES`.
        verdicts: (a state, how CION stands among the others in it).
        forest: mAP with intervals, as SVG.
        cameras: the pairs of cameras, as HTML.
        searched: the row that these pairs are of.
        efficiency: mAP against what a model costs, as SVG; empty with one backbone.
        dataset: which of `published.SETS` it is; empty for another.
        published: what was published on it, each with ours.
    """

    about: dict
    states: list[State]
    lines: list[Line]
    rows: list[tuple[dict, list[str]]]
    verdicts: list[tuple[str, str]]
    forest: str
    cameras: str
    searched: dict
    efficiency: str
    dataset: str
    published: list[tuple[Published, str]]


def describe_benchmarks(
    params: Params,
    root: Path,
    rows: list[dict],
    certainty: Certainty,
    costs: dict[Evaluation, Cost],
    methods: dict[str, dict],
    styles: Styles,
) -> list[BenchmarkSection]:
    """What the page says of each benchmark, in the order of params.yaml.

    Args:
        params: all of params.yaml.
        root: the data folder.
        rows: of the comparison.
        certainty: of the rows that are shown.
        costs: as `costs.read_costs` gives them.
        methods: as `comparison.describe_methods` gives them.
        styles: of the methods.
    """
    shown = select_shown(rows)
    sections = []
    for benchmark in params.benchmark.sources:
        own_rows = [row for row in rows if row["benchmark"] == benchmark]
        own_shown = [row for row in shown if row["benchmark"] == benchmark]
        about = load_json(root / "benchmark" / benchmark / "benchmark.json")
        states = list_states(params, own_shown)
        searched = _find_best(own_shown)
        dataset = published.recognise(about)
        section = BenchmarkSection(
            about=about,
            states=states,
            lines=make_lines(own_shown, states, certainty, costs, methods),
            rows=[(row, format_costs(row, costs, TITLES)) for row in own_rows],
            verdicts=_make_verdicts(own_shown, certainty),
            forest=_draw_forest(own_shown, certainty, styles),
            cameras=_tabulate_cameras(root, searched),
            searched=searched,
            efficiency=efficiency.draw_efficiency(own_shown, costs, styles),
            dataset=published.SETS[dataset] if dataset else "",
            published=_cite_published(dataset, params.pretrain.backbones, own_shown),
        )
        sections.append(section)
    return sections


def _make_verdicts(rows: list[dict], certainty: Certainty) -> list[tuple[str, str]]:
    """How CION stands in each state that was meant for the benchmark, on each backbone."""
    own_rows = []
    for row in rows:
        if row["method"] == OWN and row["setting"] != TRANSFERRED:
            own_rows.append(row)
    several = len({row["backbone"] for row in own_rows}) > 1
    names = {Evaluation.from_row(row): row["method"] for row in rows}

    verdicts = []
    for row in own_rows:
        own = Evaluation.from_row(row)
        leads = [lead for lead in certainty.leads.values() if lead.one == own]
        if leads:
            state = f"{row['run']}, {row['backbone']}" if several else row["run"]
            verdicts.append((state, describe_leads(leads, names)))
    return verdicts


def _draw_forest(rows: list[dict], certainty: Certainty, styles: Styles) -> str:
    """mAP of the rows with intervals, as `evaluation_charts.draw_forest` draws it."""
    intervals = []
    for row in rows:
        title = row["run"]
        if title != FROZEN:
            title = f"{row['run']}: {row['recipe']}, {describe_training(row)}"
        known = certainty.scores[Evaluation.from_row(row)]["mAP"]
        intervals.append(
            {
                "method": row["method"],
                "backbone": row["backbone"],
                "state": row["run"],
                "title": title,
                "value": row["mAP"],
                "low": known["low"],
                "high": known["high"],
            }
        )
    return evaluation_charts.draw_forest(intervals, styles)


def _find_best(rows: list[dict]) -> dict:
    """CION's row with the highest mAP; without CION, the best of all."""
    return max(rows, key=lambda row: (row["method"] == OWN, row["mAP"]))


def _tabulate_cameras(root: Path, row: dict) -> str:
    pairs = load_json(Evaluation.from_row(row).folder(root) / "cameras.json")
    return evaluation_charts.tabulate_cameras(pairs)


def _cite_published(
    dataset: str | None,
    backbones: list[str],
    rows: list[dict],
) -> list[tuple[Published, str]]:
    """What was published on a dataset, each with ours; nothing for a benchmark of another kind."""
    if dataset is None:
        return []
    results = published.select_results(dataset, backbones)
    return [(result, published.format_ours(result, rows)) for result in results]


def find_headline(rows: list[dict]) -> dict | None:
    """CION's first row: frozen, on the first benchmark and backbone; None without CION."""
    for row in rows:
        if row["method"] == OWN and row["run"] == FROZEN:
            return row
    return None


def rank_rivals(rows: list[dict], certainty: Certainty) -> list[tuple[str, Difference]]:
    """The other methods that the headline is compared with, the nearest first."""
    headline = find_headline(rows)
    if headline is None:
        return []
    own = Evaluation.from_row(headline)
    rivals = []
    for row in rows:
        lead = certainty.leads.get(Evaluation.from_row(row))
        if lead is not None and lead.one == own:
            rivals.append((row["method"], lead))
    return sorted(rivals, key=lambda rival: rival[1].points)


def draw_searches(params: Params, root: Path, rows: list[dict], styles: Styles) -> dict[str, str]:
    """Open-set search on the first benchmark, frozen and after the first run there.

    Drawn are the models of the first backbone, and features that need none.

    Returns:
        SVG by the state's name.
    """
    benchmark = next(iter(params.benchmark.sources))
    backbones = (params.pretrain.backbones[0], NO_BACKBONE)
    drawn = []
    for row in select_shown(rows):
        if row["benchmark"] == benchmark and row["backbone"] in backbones:
            drawn.append(row)

    charts = {}
    for state in list_distinct(drawn, "run")[:2]:
        searches = {}
        for row in drawn:
            if row["run"] == state:
                file = Evaluation.from_row(row).folder(root) / "search.json"
                searches[row["method"]] = load_json(file)["identification"]
        charts[state] = evaluation_charts.draw_open_set(searches, styles)
    return charts
