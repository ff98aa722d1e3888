"""The compare stage: everything that was found, as tables, plots and a page; and `cion show`."""

from __future__ import annotations

import shutil
from pathlib import Path

from cion_core import tracking, work
from cion_core.errors import CionError
from cion_core.progress import say
from cion_core.project import Params
from cion_core.report import comparison as found
from cion_core.report import costs, differences, logged, markdown, page


def run(p: Params, root: Path = Path("data")) -> None:
    """Write the comparison, the metrics, the training curves and the page into `reports/`.

    Raises:
        CionError: the output of an earlier stage is missing or not readable.
    """
    reports = root / "reports"
    say("comparing what was trained and drawing the report")
    rows, states, training = found.comparison(p, root), found.labellings(root), found.training(p, root)
    sure, cost = differences.sure(p, root, rows), costs.costs(p, root)
    about = {name: found.load_json(root / "benchmark" / name / "benchmark.json") for name in p.benchmark.sources}
    work.write_json(reports / "comparison.json", rows)
    texts = {
        "comparison.csv": found.to_csv(rows, costs.counted(cost)),
        "comparison.md": markdown.to_markdown(rows, sure, cost, about),
        "training.csv": training.to_csv(index=False, lineterminator="\n"),
        "index.html": page.render(p, root, rows, sure, cost, states, training),
    }
    for name, text in texts.items():
        with work.atomic(reports / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    shutil.rmtree(reports / "metrics", ignore_errors=True)  # of models that are no longer compared
    for name, values in found.metrics(rows, states, found.load_json(root / "audit/planted.json")).items():
        work.write_json(reports / "metrics" / name, values)
    headline, numbers = logged.headline(rows)
    tracking.close_reproduction(rows, reports / "index.html", numbers | found.numbers(rows), headline)
    tracking.show_models(logged.models(p, root, rows, states, training, cost))
    say(f"{reports / 'index.html'}: {(reports / 'index.html').stat().st_size / 1e6:.1f} MB")


def show(root: Path = Path("data")) -> None:
    """Print the comparison and where to look next."""
    try:
        table = (root / "reports/comparison.md").read_text()
    except FileNotFoundError:
        raise CionError(
            f"{root / 'reports/comparison.md'}: not there yet; `dvc repro` (or `make repro`) makes it"
        ) from None
    print(table)
    print(f"""Percent. Frozen: as pre-training left it. Finetuned: then trained on the benchmark's people. Unsupervised:
on its images, but nobody said who is on them. Adapted: so, after another's people. Transferred: on another's alone.
Images, identities: what pre-training learnt from (–: it is told no identities, or somebody else has trained it).
Time: pre-training and all runs. Parameters, FLOPs, latency and all scores: in the page.

Look next
  {root / "reports/index.html"}      what happened and why, in pictures (open it in a browser)
  make ui                      MLflow: which model is best, at what cost; open there
    {tracking.comparison_link()}
  dvc plots show               mAP and loss curves; `dvc metrics diff` for what changed
  python -m flows.reproduce    the same stages as a Prefect flow
  params.yaml                  your own videos: ingest.source: FOLDER, then `dvc repro`""")
