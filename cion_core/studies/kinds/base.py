"""What every study must do, and what those share that pre-train at each of their points.

A *point* is one value of what is studied, such as a tenth of the videos. At each a folder is laid out with what a
training there is to see; then each method is trained on it, once per seed, and evaluated. A point's name is a text that
stands in the names of folders and of DVC's stages.
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
from cion_core.pretrain.methods import METHODS
from cion_core.pretrain.settings import Guided, Pretrain
from cion_core.pretrain.watch import held_out
from cion_core.registry import Part
from cion_core.studies.files import link, load
from cion_core.studies.kinds import STUDIES
from cion_core.training.schedules import layout
from cion_core.zoo.card import FROZEN

if TYPE_CHECKING:
    from cion_core.project import Params
    from cion_core.studies.settings import Studies

SCORES = ("mAP", "rank1", "mINP")  # of an evaluation, in the table
ABOUT = "about.json"  # in what is laid out for a point: its numbers, which are columns of the table too
LABELS = "denoise"  # there, the identities of each level


class Study(Part, of=STUDIES):
    """One study of the numbers in params.yaml and studies/params.yaml.

    title: its heading. axis: (column, label) of what is studied, a share or a word. panel: a column of which each value
    has a chart of its own. seeded: whether what a point is laid out with differs from seed to seed.
    """

    title: ClassVar[str]
    axis: ClassVar[tuple[str, str]]
    panel: ClassVar[str | None] = None
    seeded: ClassVar[bool] = True

    def __init__(self, p: Params, studies: Studies) -> None:
        self.p, self.studies, self.settings = p, studies, getattr(studies, self.name)
        for key, value, there in (
            ("backbone", studies.backbone, p.pretrain.backbones),
            ("benchmark", studies.benchmark, list(p.benchmark.sources)),
            *((f"{self.name}.methods", method, p.pretrain.methods) for method in self.methods),
        ):
            if value not in there:
                raise CionError(f"studies/params.yaml: {key}: no {value} in params.yaml; valid: {', '.join(there)}")

    @property
    @abstractmethod
    def methods(self) -> list[str]:
        """What is trained at each point."""

    @abstractmethod
    def points(self) -> list[dict]:
        """The columns of each point."""

    def named(self, point: str) -> dict:
        """The columns of a point by its name, in which 0.50 is 0.5.

        Raises:
            CionError: studies/params.yaml has no such point.
        """
        valid = {name_of(columns): columns for columns in self.points()}
        try:
            return valid[_spelt(point)]
        except KeyError:
            raise CionError(f"studies/params.yaml: {self.name}: no point {point}; valid: {', '.join(valid)}") from None

    @abstractmethod
    def lay_out(self, point: dict, seed: int, data: Path, out: Path) -> dict:
        """Write what a training of this point is to see into `out`, from what lies in `data`; numbers of it."""

    def files(self, method: str) -> list[str]:
        """Files below data/ by which a training of `method` is another one, beside what is laid out."""
        return self.inputs

    @abstractmethod
    def train(self, laid: Path, method: str, seed: int, data: Path, root: Path) -> dict:
        """Train and evaluate one method on what is `laid` out, in `root`, where a killed run goes on; its numbers."""

    def rows(self) -> Iterator[dict]:
        """What the table has a row of: every point, method and seed."""
        for point in self.points():
            for method in self.methods:
                for seed in self.settings.seeds:
                    yield {**point, "method": method, "seed": seed}

    @property
    def inputs(self) -> list[str]:
        """Files below data/ that tell which footage and which benchmark it was made on."""
        return ["tracklets/crops.parquet", f"benchmark/{self.studies.benchmark}/images.parquet"]

    def place(self, data: Path, point: str, seed: int) -> Path:
        """Where a point is laid out."""
        return data / "studies" / self.name / "data" / (f"{point}-{seed}" if self.seeded else point)


def name_of(columns: dict) -> str:
    """The name of a point: its columns one after the other, such as identities-0.5."""
    return "-".join(_spelt(str(value)) for value in columns.values())


def _spelt(point: str) -> str:
    """A name with its number in as few digits as it needs: identities-0.50 is identities-0.5."""
    try:
        return f"{float(point):g}"
    except ValueError:
        head, dash, rest = point.partition("-")
        return head + dash + _spelt(rest) if dash else point


class Pretraining(Study):
    """A study whose points are identities: on each, methods are pre-trained, and evaluated frozen.

    changes: what its pre-training sets otherwise than params.yaml.
    """

    changes: ClassVar[dict] = {}

    def train(self, laid: Path, method: str, seed: int, data: Path, root: Path) -> dict:
        backbone, benchmark = self.studies.backbone, self.studies.benchmark
        name = f"{method}-{backbone}"
        link(root / "tracklets", data / "tracklets")
        link(root / "denoise", laid / LABELS)
        link(root / "benchmark", data / "benchmark")
        p = as_long(self.p.pretrain.model_copy(update={"seed": seed}), method, data).model_copy(update=self.changes)
        if not (root / "pretrain" / name).exists():
            pretraining.run(p, method, backbone, self.p.runtime, root)
        evaluation.run(self.p.evaluate, benchmark, method, backbone, FROZEN, self.p.runtime, root)
        counts = pretraining.counts(method, confidence=p.min_confidence, root=root)
        steps = steps_of(root / "pretrain" / name)
        seen = {"crops": int(counts.sum()), "identities": len(counts)}
        return {**seen, "steps": steps, "crops_seen": steps * p.batch, **scores(root, benchmark, FROZEN, name)}


def as_long(p: Pretrain, method: str, data: Path) -> Pretrain:
    """`p` with the steps, and the K of each, that `method` has on all of `data`, whatever it is trained on.

    So a point with fewer crops is trained no shorter: it sees each of them more often.
    """
    if isinstance(p.steps, int):
        return p
    part, settings = METHODS.named(method), p.settings(method)
    crops, _ = pretraining.read(data, p.min_confidence if part.labels == "cross_video" else None)
    seen = crops.drop(index=crops.index[held_out(crops, p.held_out, p.seed)])
    counts = np.unique(seen[part.labels], return_counts=True)[1]
    if not isinstance(settings, Guided):
        return p.model_copy(update={"steps": layout([(0.0, 1)], p.steps, counts, p.batch)[1]})
    phases, steps = layout(list(settings.instances), p.steps, counts, p.batch)
    return p.model_copy(update={"steps": steps, method: settings.model_copy(update={"instances": phases})})


def steps_of(model: Path) -> int:
    """How many steps a model folder was trained for."""
    return len(pd.read_csv(model / "history.csv"))


def scores(root: Path, benchmark: str, state: str, name: str) -> dict[str, float]:
    """mAP, Rank-1 and mINP of an evaluation, in percent."""
    row = load(root / "evaluate" / benchmark / state / name / "metrics.json")
    return {score: row[score] for score in SCORES}
