"""Views of the comparison in MLflow's interface: what its menu "Views" stores, as tags of the experiment.

MLflow's server knows nothing of them, and its interface has no other way to choose columns, order or charts for
somebody who opens an experiment for the first time. The names are those of MLflow 3.17; an older one that does not
know them shows the plain list.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence

NOTE = "mlflow.note.content"  # the description of an experiment or a run, Markdown
KIND = {"mlflow.experimentKind": "custom_model_development"}  # else it is one of language models
SHOWN = ("method", "backbone", "setting", "recipe")  # params in columns, and axes of what makes the difference
COSTS = ("parameters", "FLOPs", "latency ms", "hours")  # what mAP is drawn against, where it is known
SECTIONS = {"best": "Which is best", "cost": "At what cost", "learning": "How they learnt", "rest": "All numbers"}


def key(benchmark: str) -> str:
    """The view of a benchmark's rows, as links name it."""
    return f"cion-{benchmark}"


def page(experiment: str, benchmark: str) -> str:
    """The page of a view, below the server's address.

    MLflow 3.17 goes by what its switch "GenAI, Model training" was left at, and not by the kind of the experiment.
    """
    return f"#/experiments/{experiment}/runs?viewStateShareKey={key(benchmark)}&workflowType=machine_learning"


def views(benchmarks: Sequence[str], metrics: Sequence[str], curves: Sequence[str], now: int) -> dict[str, str]:
    """The experiment's tags: a view for each benchmark, of the latest comparison with the best mAP first.

    Scores of different benchmarks say nothing beside one another, so each has a view of its own.

    Args:
        benchmarks: their names.
        metrics: what the rows have, in the order of the columns; mAP is among them.
        curves: the metrics that have many steps.
        now: milliseconds since 1970.
    """
    tags = {}
    for place, benchmark in enumerate(benchmarks):
        state = {
            "orderByKey": "metrics.`mAP`",
            "orderByAsc": False,
            "searchFilter": f"tags.`cion.comparison` = 'latest' and params.`benchmark` = '{benchmark}'",
            "runsHiddenMode": "SHOW_ALL",
            **_columns(metrics),
            **_charts(metrics, curves),
        }
        packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
        made = {"createdAt": now - place, "updatedAt": now - place}  # the menu has the latest first
        saved = {"name": f"models on {benchmark}", **made, "state": f"deflate;{packed}"}
        tags[f"mlflow.sharedViewState.{key(benchmark)}"] = json.dumps(saved)
    return tags


def _columns(metrics: Sequence[str]) -> dict:
    """Each column with its width in pixels, the numbers first: the run's name before them says what it is."""
    widths = {f"metrics.`{name}`": 115 if name in COSTS else max(70, 9 * len(name) + 24) for name in metrics}
    widths |= {f"params.`{name}`": 110 for name in SHOWN}
    placed = {"attributes.`Run Name`": 300, **widths}
    return {"selectedColumns": list(widths), "columnOrder": list(placed), "columnWidths": placed}


def _charts(metrics: Sequence[str], curves: Sequence[str]) -> dict:
    """Bars of the scores, mAP against costs, learning curves; the interface adds the rest by itself."""
    scores = [name for name in ("mAP", "Rank-1", "mINP") if name in metrics]
    costs = [name for name in COSTS if name in metrics]
    charts = [_chart("BAR", "best", name, metricKey=name, runsCountToCompare=100) for name in scores]
    charts.append(
        _chart("PARALLEL", "best", "what makes the difference", selectedParams=[*SHOWN], selectedMetrics=["mAP"],
               showAllRuns=False, runsCountToCompare=100)
    )  # fmt: skip
    for name in costs:
        axes = {"xaxis": {"key": name, "type": "METRIC"}, "yaxis": {"key": "mAP", "type": "METRIC"}}
        charts.append(_chart("SCATTER", "cost", f"mAP against {name}", **axes, runsCountToCompare=100))
    line = {
        "lineSmoothness": 0, "xAxisKey": "step", "xAxisScaleType": "linear", "scaleType": "linear", "range": {},
        "selectedXAxisMetricKey": "", "yAxisKey": "metric", "yAxisExpressions": [], "ignoreOutliers": False,
        "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True, "runsCountToCompare": 100,
    }  # fmt: skip
    for name in curves:
        charts.append(_chart("LINE", "learning", name, metricKey=name, selectedMetricKeys=[name], **line))
    sections = [
        {"uuid": uuid, "name": name, "display": uuid != "rest", "isReordered": False, "deleted": False, "columns": 2}
        for uuid, name in SECTIONS.items()
    ]
    return {"compareRunCharts": charts, "compareRunSections": sections, "isAccordionReordered": True}


def _chart(kind: str, section: str, title: str, **settings) -> dict:
    return {
        "type": kind, "uuid": f"{section}-{title}", "metricSectionId": section, "displayName": title,
        "deleted": False, "isGenerated": False, **settings,
    }  # fmt: skip


def note(rows: Sequence, benchmarks: Sequence[str], experiment: str) -> str:
    """The experiment's description: the best of each benchmark, which links to its view. `rows`: the best first.

    Of a long one MLflow shows the first line, and the rest on a click.
    """
    told = []
    for benchmark in benchmarks:
        best = next(row for row in rows if row.params["benchmark"] == benchmark)
        told.append(f"[{best.name}, mAP {best.metrics['mAP']:.1f}]({page(experiment, benchmark)})")
    return f"Best: {'; '.join(told)}\n\nOne row for each model of the latest comparison; see the menu *Views*."
