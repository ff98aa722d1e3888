"""The comparison as MLflow shows it first: one flat row per model, in an experiment of its own.

A row is found by its params, which say what the model is. A model that is measured again keeps its
row. The latest comparison may lack a row that an earlier one had: the data or settings have
changed, or the model is not asked for any more. Such a row stays, and its name says that it is an
earlier result.

Like every run, the rows are first kept on this machine, in `.cion/tracking/comparison/rows.json`,
and then uploaded (`upload_rows`). `views` says how they are shown.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from cion_core import work
from cion_core.tracking import context
from cion_core.tracking.journal import milliseconds_now, read_json

FOLDER = work.ROOT / "tracking/comparison"
KEPT_FILE = FOLDER / "rows.json"
PAGE_FILE = FOLDER / "page.txt"
# Where `make ui` starts MLflow's server.
LOCAL_SERVER = "http://127.0.0.1:5000"


@dataclass(frozen=True)
class ModelRow:
    """A model on a benchmark.

    Attributes:
        name: for people.
        params: what it is; rows of equal params are one. `benchmark` is among them.
        metrics: numbers by name; `mAP` is among them.
        curves: by name [[step, value], ...].
        data: what it has learnt from and was measured on, {name: hash}.
    """

    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    curves: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """A hash of the params."""
        return work.key(dict(self.params))


def keep(rows: Sequence[ModelRow]) -> None:
    """Write the rows of the latest comparison; those of one that was not uploaded are replaced."""
    reproduction = context.find_reproduction() or ""
    tags = context.describe_revision() | {"cion.reproduction": reproduction}
    plain_rows = [asdict(row) for row in rows]
    work.write_json(KEPT_FILE, {"time": milliseconds_now(), "tags": tags, "rows": plain_rows})


def read_kept() -> dict:
    """What `keep` wrote: time, tags, and rows as dicts."""
    return read_json(KEPT_FILE)


def are_waiting() -> bool:
    """Whether there are rows that MLflow does not have."""
    return KEPT_FILE.exists()


def forget(page: str) -> None:
    """Remove the rows, which are uploaded; remember on which page of MLflow they are."""
    with work.atomic(PAGE_FILE) as temporary:
        temporary.write_text(page, encoding="utf-8")
    KEPT_FILE.unlink()


def find_link() -> str:
    """Where the comparison is seen; MLflow's first page until it has been uploaded."""
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not server.startswith("http"):
        server = LOCAL_SERVER
    page = PAGE_FILE.read_text(encoding="utf-8") if PAGE_FILE.exists() else ""
    return f"{server.rstrip('/')}/{page}"
