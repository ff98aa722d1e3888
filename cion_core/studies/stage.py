"""The stages of a study: lay a point out, train and evaluate it, and put all points together.

::

    data/studies/NAME/data/POINT[-SEED]/              what a training of the point is to see;
                                                      about.json: its numbers
    data/studies/NAME/points/POINT-METHOD-SEED.json   a row of the table
    data/reports/studies/NAME.json, .csv, .svg        all rows, means and spreads over seeds,
                                                      and the picture

Work in progress lies below .cion/studies, in a folder that is laid out as data/ is, so that the
rooms' own stages run in it. A killed training goes on there. When the row is written the folder is
removed.
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
from cion_core.studies.kinds.base import NUMBERS_FILE, Study


def lay_out(
    params: Params,
    name: str,
    point_name: str,
    seed: int = 0,
    data: Path = Path("data"),
) -> None:
    """Write what a training of one point is to see.

    Args:
        params: all of params.yaml.
        name: of the study.
        point_name: such as 0.1.
        seed: for points that are drawn at random.
        data: the data folder.

    Raises:
        CionError: there is no such study or point, or a stage before has not run.
    """
    study = settings.make_study(name, params)
    point = study.find_point(point_name)
    with grouped_in_mlflow(study), work.replaced(study.folder(data, point_name, seed)) as out:
        out.mkdir()
        numbers = study.lay_out(point, seed, data, out)
        work.write_json(out / NUMBERS_FILE, numbers)
    told = ", ".join(f"{value} {what}" for what, value in numbers.items())
    say(f"study {name}: {point_name}: {told}")


def train(
    params: Params,
    name: str,
    point_name: str,
    method: str,
    seed: int,
    data: Path = Path("data"),
) -> None:
    """Train and evaluate one method at one point, and write its row.

    Args:
        params: all of params.yaml.
        name: of the study.
        point_name: such as 0.1.
        method: of `pretrain.methods`.
        seed: of the choice and of the training.
        data: the data folder.

    Raises:
        Preempted: a SIGTERM has come; run it again.
        CionError: there is no such point, or what a room refuses.
    """
    study = settings.make_study(name, params)
    point = study.find_point(point_name)
    laid_out = study.folder(data, point_name, seed)

    # 1. Work in a folder named by a hash of all inputs, so that a killed training is found again.
    numbers = [params.model_dump(exclude={"runtime"}), study.shared.model_dump()]
    files = sorted(path for path in laid_out.rglob("*") if path.is_file())
    files += [data / file for file in study.input_files(method)]
    key = work.key([name, point_name, method, seed, *numbers], *files)
    workplace = work.folder("studies", key)

    # 2. Train, evaluate, and write the row.
    tags = {"study": name, "point": point_name, "method": method, "seed": str(seed)}
    title = f"{name}-{point_name}-{method}-{seed}"
    with (
        grouped_in_mlflow(study),
        tracking.run("study", title, key, {**point, **tags}, tags) as run,
    ):
        result = study.train(laid_out, method, seed, data, workplace)
        counted = load(laid_out / NUMBERS_FILE)
        row = {**point, "method": method, "seed": seed, **counted, **result}
        work.write_json(_points_folder(study, data) / f"{point_name}-{method}-{seed}.json", row)
        run.metrics({what: value for what, value in row.items() if isinstance(value, (int, float))})
    shutil.rmtree(workplace)
    say(f"study {name}: {point_name}, {method}, seed {seed}: mAP {row['mAP']:.1f}")


def collect(params: Params, name: str, data: Path = Path("data")) -> None:
    """Write the table, the picture and the numbers of a study.

    Args:
        params: all of params.yaml.
        name: of the study; its points are those that studies/params.yaml has now.
        data: the data folder.

    Raises:
        CionError: a point has not been trained.
    """
    study = settings.make_study(name, params)
    inputs = {file: work.sha256(data / file) for file in study.inputs}
    table = summary.summarise(study, read_rows(study, data), inputs)
    reports = data / "reports/studies"
    work.write_json(reports / f"{name}.json", table)
    texts = {"csv": summary.to_csv(table), "svg": drawing.draw_standalone(table)}
    for suffix, text in texts.items():
        with work.atomic(reports / f"{name}.{suffix}") as temporary:
            temporary.write_text(text, encoding="utf-8")
    with grouped_in_mlflow(study):
        numbers = summary.mean_scores(table)
        tracking.close_parent_run(table["means"], reports / f"{name}.svg", numbers)


def read_rows(study: Study, data: Path) -> list[dict]:
    """The row of every point, method and seed, in their order.

    Raises:
        CionError: one is missing.
    """
    folder = _points_folder(study, data)
    # Files that begin with a dot are being written.
    written = [load(path) for path in sorted(folder.glob("[!.]*.json"))]
    rows = []
    for wanted in study.wanted_rows():
        fitting = [row for row in written if wanted.items() <= row.items()]
        if not fitting:
            what = ", ".join(f"{key} {value}" for key, value in wanted.items())
            raise CionError(f"{folder}: no row of {what}; `cion study {study.name}` makes it")
        rows.append(fitting[0])
    return rows


def _points_folder(study: Study, data: Path) -> Path:
    return data / "studies" / study.name / "points"


def grouped_in_mlflow(study: Study) -> AbstractContextManager[None]:
    """Make whatever is logged inside a child of the study's one run in MLflow.

    The numbers of the study name the run, so one that was killed and goes on is the same.
    """
    numbers = [study.params.model_dump(exclude={"runtime"}), study.shared.model_dump()]
    title = f"study-{study.name}-{work.key(numbers)}"
    return tracking.group_runs(title, f"study {study.name}")
