"""The comparison as MLflow shows it first: one flat row per model, in an experiment of its own.

A row is found by what it is, its params: measured again it takes its own place. Rows that the latest comparison does
not have, of other data or settings or of a model that nobody asks for now, stay as earlier results, and are named so.
Like every run the rows are kept on this machine first, in `.cion/tracking/comparison/rows.json`, and then sent
(`deliver_rows`); `views` says how they are shown.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from cion_core import work
from cion_core.tracking import context
from cion_core.tracking.journal import milliseconds, read

FOLDER = work.ROOT / "tracking/comparison"
SERVED = "http://127.0.0.1:5000"  # where `make ui` does


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
        """The same for rows that are one."""
        return work.key(dict(self.params))


def keep(rows: Sequence[ModelRow]) -> None:
    """Write the rows of the latest comparison; of one that was not sent nothing is left, as this one replaces it."""
    tags = context.revision() | {"cion.reproduction": context.reproduction() or ""}
    work.write_json(FOLDER / "rows.json", {"time": milliseconds(), "tags": tags, "rows": [asdict(row) for row in rows]})


def kept() -> dict:
    """What `keep` wrote: time, tags, and rows as dicts."""
    return read(FOLDER / "rows.json")


def waiting() -> bool:
    """Whether there are rows that MLflow does not have."""
    return (FOLDER / "rows.json").exists()


def sent(page: str) -> None:
    """Forget the rows, which MLflow has, and remember on which page of its interface they are."""
    with work.atomic(FOLDER / "page.txt") as temporary:
        temporary.write_text(page)
    (FOLDER / "rows.json").unlink()


def link() -> str:
    """Where the comparison is seen; MLflow's first page until it has been sent."""
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    path = FOLDER / "page.txt"
    page = path.read_text() if path.exists() else ""
    return f"{server.rstrip('/') if server.startswith('http') else SERVED}/{page}"
