"""Views of the comparison in MLflow's interface: columns, order and charts.

The interface keeps a view in tags of the experiment, which is what its menu "Views" writes.
MLflow's server knows nothing of them, and there is no other way to choose what somebody sees who
opens an experiment for the first time. The names of keys are those of MLflow 3.17; an older one
that does not know them shows the plain list.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence

from cion_core.tracking.rows import ModelRow

# The description of an experiment or a run, in Markdown.
NOTE_TAG = "mlflow.note.content"
# Without this tag MLflow takes an experiment for one of language models.
EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}
# Params that are columns, and axes of the chart "what makes the difference".
SHOWN_PARAMS = ("method", "backbone", "setting", "recipe")
# Metrics that are bars, and those that mAP is drawn against; each where the rows have it.
SCORES = ("mAP", "Rank-1", "mINP")
COSTS = ("parameters", "FLOPs", "latency ms", "hours")
# Widths of columns, in pixels.
NAME_WIDTH = 300
COST_WIDTH = 115
PARAM_WIDTH = 110
# A chart shows so many runs at most.
RUNS_IN_CHART = 100
SECTIONS = {
    "best": "Which is best",
    "cost": "At what cost",
    "learning": "How they learnt",
    "rest": "All numbers",
}


def view_key(benchmark: str) -> str:
    """The view of a benchmark's rows, as links name it."""
    return f"cion-{benchmark}"


def find_page(experiment: str, benchmark: str) -> str:
    """The page of a view, below the server's address.

    MLflow 3.17 has a switch "GenAI, Model training", and goes by where somebody left it rather than
    by the kind of the experiment. So the link sets it.
    """
    view = f"viewStateShareKey={view_key(benchmark)}"
    return f"#/experiments/{experiment}/runs?{view}&workflowType=machine_learning"


def describe_views(
    benchmarks: Sequence[str],
    metrics: Sequence[str],
    curves: Sequence[str],
    now: int,
) -> dict[str, str]:
    """The experiment's tags: a view for each benchmark, of the latest models, the best first.

    Scores on different benchmarks cannot be compared, so each benchmark has a view of its own.

    Args:
        benchmarks: their names.
        metrics: what the rows have, in the order of the columns; mAP is among them.
        curves: the metrics that have many steps.
        now: milliseconds since 1970.
    """
    tags = {}
    for place, benchmark in enumerate(benchmarks):
        latest = "tags.`cion.comparison` = 'latest'"
        state = {
            "orderByKey": "metrics.`mAP`",
            "orderByAsc": False,
            "searchFilter": f"{latest} and params.`benchmark` = '{benchmark}'",
            "runsHiddenMode": "SHOW_ALL",
            **_describe_columns(metrics),
            **_describe_charts(metrics, curves),
        }
        # The menu shows the youngest view first.
        time = now - place
        view = {
            "name": f"models on {benchmark}",
            "createdAt": time,
            "updatedAt": time,
            "state": _pack(state),
        }
        tags[f"mlflow.sharedViewState.{view_key(benchmark)}"] = json.dumps(view)
    return tags


def write_note(rows: Sequence[ModelRow], benchmarks: Sequence[str], experiment: str) -> str:
    """The experiment's description: the best model of each benchmark, as a link to its view.

    Of a long description MLflow shows the first line, and the rest on a click.

    Args:
        rows: the best first.
        benchmarks: their names; each has a row.
        experiment: MLflow's id.
    """
    links = []
    for benchmark in benchmarks:
        best = next(row for row in rows if row.params["benchmark"] == benchmark)
        page = find_page(experiment, benchmark)
        links.append(f"[{best.name}, mAP {best.metrics['mAP']:.1f}]({page})")
    first_line = f"Best: {'; '.join(links)}"
    return f"{first_line}\n\nOne row for each model of the latest comparison; see the menu *Views*."


def _pack(state: dict) -> str:
    """A view's state as the interface stores it: JSON, compressed, in base 64."""
    compressed = zlib.compress(json.dumps(state).encode())
    return f"deflate;{base64.b64encode(compressed).decode()}"


def _describe_columns(metrics: Sequence[str]) -> dict:
    """Each column with its width: the run's name, the numbers, then params."""
    widths = {}
    for name in metrics:
        # About nine pixels a letter, and room for the arrow of sorting.
        by_name = max(70, 9 * len(name) + 24)
        widths[f"metrics.`{name}`"] = COST_WIDTH if name in COSTS else by_name
    for name in SHOWN_PARAMS:
        widths[f"params.`{name}`"] = PARAM_WIDTH
    with_name = {"attributes.`Run Name`": NAME_WIDTH, **widths}
    return {
        "selectedColumns": list(widths),
        "columnOrder": list(with_name),
        "columnWidths": with_name,
    }


def _describe_charts(metrics: Sequence[str], curves: Sequence[str]) -> dict:
    """Bars of scores, mAP against costs, learning curves; the interface adds all other metrics."""
    charts = []
    for name in SCORES:
        if name in metrics:
            charts.append(_chart("BAR", "best", name, metricKey=name))
    charts.append(_parallel_chart())
    for name in COSTS:
        if name in metrics:
            charts.append(_scatter_chart(name))
    for name in curves:
        charts.append(_line_chart(name))

    sections = []
    for uuid, name in SECTIONS.items():
        section = {
            "uuid": uuid,
            "name": name,
            "display": uuid != "rest",
            "isReordered": False,
            "deleted": False,
            "columns": 2,
        }
        sections.append(section)
    return {
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "isAccordionReordered": True,
    }


def _parallel_chart() -> dict:
    """A line per model over its params, up to its mAP."""
    return _chart(
        "PARALLEL",
        "best",
        "what makes the difference",
        selectedParams=[*SHOWN_PARAMS],
        selectedMetrics=["mAP"],
        showAllRuns=False,
    )


def _scatter_chart(cost: str) -> dict:
    """A point per model: mAP against a cost."""
    return _chart(
        "SCATTER",
        "cost",
        f"mAP against {cost}",
        xaxis={"key": cost, "type": "METRIC"},
        yaxis={"key": "mAP", "type": "METRIC"},
    )


def _line_chart(curve: str) -> dict:
    """A curve of each model, over the steps of its training."""
    return _chart(
        "LINE",
        "learning",
        curve,
        metricKey=curve,
        selectedMetricKeys=[curve],
        lineSmoothness=0,
        xAxisKey="step",
        xAxisScaleType="linear",
        scaleType="linear",
        range={},
        selectedXAxisMetricKey="",
        yAxisKey="metric",
        yAxisExpressions=[],
        ignoreOutliers=False,
        useGlobalXaxisKey=True,
        useGlobalLineSmoothing=True,
    )


def _chart(kind: str, section: str, title: str, **settings) -> dict:
    """What every chart has, and the settings of its kind."""
    return {
        "type": kind,
        "uuid": f"{section}-{title}",
        "metricSectionId": section,
        "displayName": title,
        "deleted": False,
        "isGenerated": False,
        "runsCountToCompare": RUNS_IN_CHART,
        **settings,
    }
