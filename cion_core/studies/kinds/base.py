"""What every study must do, and what those share that pre-train at each of their points.

A *point* is one value of what is studied, such as a tenth of the videos. At each a folder is laid
out with what a training there is to see; then each method is trained on it, once per seed, and
evaluated. A point's name is a text that stands in the names of folders and of DVC's stages.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from cion_core.errors import CionError
from cion_core.evaluate import stage as evaluation
from cion_core.pretrain import stage as pretraining
from cion_core.pretrain.labelled_crops import read_crops
from cion_core.pretrain.methods import METHODS
from cion_core.pretrain.settings import Guided, Pretrain
from cion_core.pretrain.watch import hold_out
from cion_core.registry import Part
from cion_core.studies.files import link, load
from cion_core.studies.kinds import STUDIES
from cion_core.training.schedules import lay_out
from cion_core.zoo.card import FROZEN

if TYPE_CHECKING:
    from cion_core.project import Params
    from cion_core.studies.settings import Studies

# The scores of an evaluation that the table has.
SCORES = ("mAP", "rank1", "mINP")
# The file with the numbers of a point, which are columns of the table too.
NUMBERS_FILE = "about.json"
# The folder of a point with the identities of each level.
IDENTITIES_FOLDER = "denoise"


class Study(Part, of=STUDIES):
    """One study of the numbers in params.yaml and studies/params.yaml.

    A subclass has `Settings`, its section of studies/params.yaml, with at least `seeds`.

    Attributes:
        params: all of params.yaml.
        shared: all of studies/params.yaml, of which `backbone` and `benchmark` are shared.
        settings: its own section of it.
        title: its heading.
        axis: (column, label) of what is studied, a share or a word.
        panel: a column of which each value has a chart of its own; None: one chart.
        seeded: whether what a point is laid out with differs from seed to seed.
    """

    title: ClassVar[str]
    axis: ClassVar[tuple[str, str]]
    panel: ClassVar[str | None] = None
    seeded: ClassVar[bool] = True

    def __init__(self, params: Params, studies: Studies) -> None:
        """Check that what is to be trained and measured on is in params.yaml.

        Args:
            params: all of params.yaml.
            studies: all of studies/params.yaml.

        Raises:
            CionError: the two do not fit one another.
        """
        self.params = params
        self.shared = studies
        self.settings = getattr(studies, self.name)
        _check("backbone", studies.backbone, params.pretrain.backbones)
        _check("benchmark", studies.benchmark, list(params.benchmark.sources))
        for method in self.methods:
            _check(f"{self.name}.methods", method, params.pretrain.methods)

    @property
    @abstractmethod
    def methods(self) -> list[str]:
        """What is trained at each point."""

    @abstractmethod
    def points(self) -> list[dict]:
        """The columns of each point."""

    def find_point(self, name: str) -> dict:
        """The columns of a point by its name, in which 0.50 is 0.5.

        Raises:
            CionError: studies/params.yaml has no such point.
        """
        points = {name_point(columns): columns for columns in self.points()}
        try:
            return points[_shorten(name)]
        except KeyError:
            valid = ", ".join(points)
            problem = f"{self.name}: no point {name}; valid: {valid}"
            raise CionError(f"studies/params.yaml: {problem}") from None

    @abstractmethod
    def lay_out(self, point: dict, seed: int, data: Path, out: Path) -> dict:
        """Write what a training of a point is to see.

        Args:
            point: its columns.
            seed: for points that are drawn at random.
            data: the data folder.
            out: where to write.

        Returns:
            Numbers of what was laid out, by name.
        """

    def input_files(self, method: str) -> list[str]:
        """Files below data/, beside what is laid out, whose change makes another training."""
        return self.inputs

    @abstractmethod
    def train(self, laid_out: Path, method: str, seed: int, data: Path, workplace: Path) -> dict:
        """Train and evaluate one method.

        Args:
            laid_out: what `lay_out` has written.
            method: its name.
            seed: of the training.
            data: the data folder.
            workplace: the folder to work in; a killed run goes on there.

        Returns:
            Its numbers, by name.
        """

    def wanted_rows(self) -> Iterator[dict]:
        """What the table has a row of: every point, method and seed."""
        for point in self.points():
            for method in self.methods:
                for seed in self.settings.seeds:
                    yield {**point, "method": method, "seed": seed}

    @property
    def inputs(self) -> list[str]:
        """Files below data/ that tell which footage and which benchmark it was made on."""
        return ["tracklets/crops.parquet", f"benchmark/{self.shared.benchmark}/images.parquet"]

    def folder(self, data: Path, point_name: str, seed: int) -> Path:
        """Where a point is laid out."""
        name = f"{point_name}-{seed}" if self.seeded else point_name
        return data / "studies" / self.name / "data" / name


def _check(key: str, value: str, valid: list[str]) -> None:
    if value not in valid:
        problem = f"{key}: no {value} in params.yaml; valid: {', '.join(valid)}"
        raise CionError(f"studies/params.yaml: {problem}")


def name_point(columns: dict) -> str:
    """The name of a point: its columns one after the other, such as identities-0.5."""
    return "-".join(_shorten(str(value)) for value in columns.values())


def _shorten(name: str) -> str:
    """A point's name with its number in as few digits as it needs.

    For example: identities-0.50 is identities-0.5.
    """
    try:
        return f"{float(name):g}"
    except ValueError:
        word, dash, rest = name.partition("-")
        return word + dash + _shorten(rest) if dash else name


class Pretraining(Study):
    """A study whose points are identities: on each, methods are pre-trained, and evaluated frozen.

    Attributes:
        changes: what its pre-training sets otherwise than params.yaml.
    """

    changes: ClassVar[dict] = {}

    def train(self, laid_out: Path, method: str, seed: int, data: Path, workplace: Path) -> dict:
        """Pre-train and evaluate; see `Study.train`."""
        backbone, benchmark = self.shared.backbone, self.shared.benchmark
        runtime = self.params.runtime
        name = f"{method}-{backbone}"

        # 1. A folder that looks like data/, with the identities of this point.
        link(workplace / "tracklets", data / "tracklets")
        link(workplace / "denoise", laid_out / IDENTITIES_FOLDER)
        link(workplace / "benchmark", data / "benchmark")

        # 2. Train for as many steps as the main run.
        seeded = self.params.pretrain.model_copy(update={"seed": seed})
        settings = keep_length(seeded, method, data).model_copy(update=self.changes)
        model = workplace / "pretrain" / name
        if not model.exists():
            pretraining.run(settings, method, backbone, runtime, workplace)
        evaluation.run(
            self.params.evaluate, benchmark, method, backbone, FROZEN, runtime, workplace
        )

        # 3. What the training saw, and how well the model finds people.
        counts = pretraining.counts(method, confidence=settings.min_confidence, root=workplace)
        steps = count_steps(model)
        return {
            "crops": int(counts.sum()),
            "identities": len(counts),
            "steps": steps,
            "crops_seen": steps * settings.batch,
            **read_scores(workplace, benchmark, FROZEN, name),
        }


def keep_length(settings: Pretrain, method: str, data: Path) -> Pretrain:
    """The settings with the steps, and the K of each, that `method` has on all of `data`.

    So a point with fewer crops is trained no shorter: it sees each of them more often.

    Args:
        settings: of pre-training; those that count in steps already are returned as they are.
        method: its name.
        data: the data folder of the main run.
    """
    if isinstance(settings.steps, int):
        return settings

    # 1. How many crops each identity has in the main run's training.
    part = METHODS.named(method)
    confidence = settings.min_confidence if part.labels == "cross_video" else None
    crops, _ = read_crops(data, confidence)
    validation = crops.index[hold_out(crops, settings.held_out, settings.seed)]
    labels = crops.drop(index=validation)[part.labels]
    _, counts = np.unique(labels, return_counts=True)

    # 2. The steps that its epochs are; with phases of K, where each of these begins.
    own = settings.settings(method)
    if not isinstance(own, Guided):
        _, steps = lay_out([(0.0, 1)], settings.steps, counts, settings.batch)
        return settings.model_copy(update={"steps": steps})
    phases, steps = lay_out(list(own.instances), settings.steps, counts, settings.batch)
    guided = own.model_copy(update={"instances": phases})
    return settings.model_copy(update={"steps": steps, method: guided})


def count_steps(model: Path) -> int:
    """How many steps a model folder was trained for."""
    return len(pd.read_csv(model / "history.csv"))


def read_scores(workplace: Path, benchmark: str, state: str, name: str) -> dict[str, float]:
    """mAP, Rank-1 and mINP of an evaluation, in percent."""
    row = load(workplace / "evaluate" / benchmark / state / name / "metrics.json")
    return {score: row[score] for score in SCORES}
