"""The stages of a study: lay a point out, train and evaluate it, and put all points together.

    data/studies/NAME/data/POINT[-SEED]/                what a training of the point is to see; about.json: its numbers
    data/studies/NAME/points/POINT-METHOD-SEED.json     a row of the table
    data/reports/studies/NAME.json, .csv, .svg          all rows, means and spreads over seeds, and the picture

Work in progress lies below .cion/studies, in a folder that is laid out as data/ is, so that the rooms' own stages run
in it. A killed training goes on there; when the row is written the folder is removed.
"""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from pathlib import Path

from cion_core import tracking, work
from cion_core.errors import CionError
from cion_core.progress import say
from cion_core.project import Params
from cion_core.report import studies as drawing
from cion_core.studies import settings, summary
from cion_core.studies.files import load
from cion_core.studies.kinds.base import ABOUT, Study


def lay_out(p: Params, name: str, point: str, seed: int = 0, data: Path = Path("data")) -> None:
    """Write what a training of one point is to see."""
    study = settings.study(name, p)
    columns = study.named(point)
    with recorded(study), work.replaced(study.place(data, point, seed)) as out:
        out.mkdir()
        numbers = study.lay_out(columns, seed, data, out)
        work.write_json(out / ABOUT, numbers)
    say(f"study {name}: {point}: " + ", ".join(f"{value} {what}" for what, value in numbers.items()))


def train(p: Params, name: str, point: str, method: str, seed: int, data: Path = Path("data")) -> None:
    """Train and evaluate one method at one point, and write its row.

    Raises:
        Preempted: a SIGTERM has come; run it again.
        CionError: there is no such point, or what a room refuses.
    """
    study = settings.study(name, p)
    columns, laid = study.named(point), study.place(data, point, seed)
    shaping = [name, point, method, seed, p.model_dump(exclude={"runtime"}), study.studies.model_dump()]
    files = sorted(path for path in laid.rglob("*") if path.is_file())
    key = work.key(shaping, *files, *(data / name for name in study.files(method)))
    root = work.folder("studies", key)
    tags = {"study": name, "point": point, "method": method, "seed": str(seed)}
    with (
        recorded(study),
        tracking.run("study", f"{name}-{point}-{method}-{seed}", key, {**columns, **tags}, tags) as run,
    ):
        found = study.train(laid, method, seed, data, root)
        row = {**columns, "method": method, "seed": seed, **load(laid / ABOUT), **found}
        work.write_json(data / "studies" / name / "points" / f"{point}-{method}-{seed}.json", row)
        run.metrics({what: value for what, value in row.items() if isinstance(value, (int, float))})
    shutil.rmtree(root)
    say(f"study {name}: {point}, {method}, seed {seed}: mAP {row['mAP']:.1f}")


def collect(p: Params, name: str, data: Path = Path("data")) -> None:
    """Write the table, the picture and the numbers of a study, of the points that studies/params.yaml has now."""
    study = settings.study(name, p)
    told = summary.of(study, rows(study, data), {place: work.sha256(data / place) for place in study.inputs})
    reports = data / "reports/studies"
    work.write_json(reports / f"{name}.json", told)
    for suffix, text in (("csv", summary.to_csv(told)), ("svg", drawing.alone(told))):
        with work.atomic(reports / f"{name}.{suffix}") as temporary:
            temporary.write_text(text, encoding="utf-8")
    with recorded(study):
        tracking.close_reproduction(told["means"], reports / f"{name}.svg", summary.headline(told))


def rows(study: Study, data: Path) -> list[dict]:
    """The row of every point, method and seed, in their order; CionError where one is missing."""
    folder = data / "studies" / study.name / "points"
    found = [load(path) for path in sorted(folder.glob("[!.]*.json"))]
    kept = []
    for wanted in study.rows():
        row = next((row for row in found if wanted.items() <= row.items()), None)
        if row is None:
            what = ", ".join(f"{key} {value}" for key, value in wanted.items())
            raise CionError(f"{folder}: no row of {what}; `cion study {study.name}` makes it")
        kept.append(row)
    return kept


def recorded(study: Study) -> AbstractContextManager[None]:
    """Whatever is logged inside is a child of the study's one run in MLflow.

    The numbers of the study name the run, so one that was killed and goes on is the same.
    """
    key = work.key([study.p.model_dump(exclude={"runtime"}), study.studies.model_dump()])
    return tracking.group_runs(f"study-{study.name}-{key}", f"study {study.name}")
