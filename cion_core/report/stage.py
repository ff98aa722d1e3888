"""The compare stage: everything that was found, as tables, plots and a page; and `cion show`."""

from __future__ import annotations

import shutil
from pathlib import Path

from cion_core import tracking, work
from cion_core.errors import CionError
from cion_core.progress import say
from cion_core.project import Params
from cion_core.report import comparison, markdown, mlflow_rows, page
from cion_core.report.comparison import load_json
from cion_core.report.costs import read_costs, select_counted
from cion_core.report.differences import measure_certainty
from cion_core.report.labellings import describe_labellings
from cion_core.report.trainings import read_losses


def run(params: Params, root: Path = Path("data")) -> None:
    """Write the comparison, the metrics, the training curves and the page into `reports/`.

    Args:
        params: all of params.yaml.
        root: the data folder.

    Raises:
        CionError: the output of an earlier stage is missing or not readable.
    """
    reports = root / "reports"
    say("comparing what was trained and drawing the report")

    # 1. Read what the stages have left.
    rows = comparison.read_rows(params, root)
    labellings = describe_labellings(root)
    losses = read_losses(params, root)
    certainty = measure_certainty(params, root, rows)
    costs = read_costs(params, root)
    planted = load_json(root / "audit/planted.json")
    descriptions = {}
    for name in params.benchmark.sources:
        descriptions[name] = load_json(root / "benchmark" / name / "benchmark.json")

    # 2. Write the rows, and all that is made of them.
    work.write_json(reports / "comparison.json", rows)
    texts = {
        "comparison.csv": comparison.to_csv(rows, select_counted(costs)),
        "comparison.md": markdown.to_markdown(rows, certainty, costs, descriptions),
        "training.csv": losses.to_csv(index=False, lineterminator="\n"),
        "index.html": page.render(params, root, rows, certainty, costs, labellings, losses),
    }
    for name, text in texts.items():
        with work.atomic(reports / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    # 3. Write the metrics anew: earlier ones may be of models that are no longer compared.
    shutil.rmtree(reports / "metrics", ignore_errors=True)
    for name, values in comparison.metrics_by_file(rows, labellings, planted).items():
        work.write_json(reports / "metrics" / name, values)

    # 4. Record it in MLflow.
    page_file = reports / "index.html"
    description, numbers = mlflow_rows.describe_best(rows)
    numbers |= comparison.scores_by_name(rows)
    tracking.close_parent_run(rows, page_file, numbers, description)
    tracking.show_models(mlflow_rows.make_rows(params, root, rows, labellings, losses, costs))
    say(f"{page_file}: {page_file.stat().st_size / 1e6:.1f} MB")


def show(root: Path = Path("data")) -> None:
    """Print the comparison and where to look next.

    Raises:
        CionError: nothing has been compared yet.
    """
    file = root / "reports/comparison.md"
    try:
        table = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CionError(f"{file}: not there yet; `dvc repro` (or `make repro`) makes it") from None
    print(table)
    print(f"""\
Percent. Frozen: as pre-training left it. Finetuned: then trained on the benchmark's people.
Unsupervised: on its images, but nobody said who is on them. Adapted: so, after another's people.
Transferred: on another's alone.
Images, identities: what pre-training learnt from (–: it is told no identities, or others have
trained it). Time: pre-training and all runs. Parameters, FLOPs, latency, all scores: in the page.

Look next
  {root / "reports/index.html"}      what happened and why, in pictures (open it in a browser)
  make ui                      MLflow: which model is best, at what cost; open there
    {tracking.comparison_link()}
  dvc plots show               mAP and loss curves; `dvc metrics diff` for what changed
  python -m flows.reproduce    the same stages as a Prefect flow
  params.yaml                  your own videos: ingest.source: FOLDER, then `dvc repro`""")
