"""What few labels do: a run of fine-tuning on a share of the people, or of the images, of its benchmark.

As in LUPerson's tables (Fu et al. 2021): of so many people all images, or of all people so many images.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from cion_core import config, tables
from cion_core.config import Fraction, Section, Seed
from cion_core.errors import CionError
from cion_core.evaluate import stage as evaluation
from cion_core.finetune import stage as finetuning
from cion_core.studies.files import link, load
from cion_core.studies.kinds.base import Study, name_of, scores, steps_of

if TYPE_CHECKING:
    from cion_core.finetune.settings import Finetune
    from cion_core.project import Params
    from cion_core.studies.settings import Studies

IDENTITIES, IMAGES = "identities", "images"
TRAINING = "images.parquet"


class Few(Study):
    """Epochs stay as they are, as published: fewer images are fewer steps."""

    about = "what few labels do: fine-tuning on a share of the people, or of the images"
    title = "How few labels it takes"
    axis = ("share", "share of the labels")
    panel = "kind"

    class Settings(Section):
        """run: of finetune.runs; set: what it sets otherwise here, such as a batch that few people fill; lists: the
        file of a published choice by point (`identities-0.1`), one person number or image name a line."""

        run: str
        set: dict[str, Any] = Field(default_factory=dict)
        kinds: Annotated[list[Literal["identities", "images"]], Field(min_length=1)]
        shares: Annotated[list[Annotated[Fraction, Field(gt=0)]], Field(min_length=1)]
        lists: dict[str, str] = Field(default_factory=dict)
        methods: Annotated[list[str], Field(min_length=1)]
        seeds: Annotated[list[Seed], Field(min_length=1)]

    def __init__(self, p: Params, studies: Studies) -> None:
        super().__init__(p, studies)
        run = p.finetune.runs.get(self.settings.run)
        if run is None or run.on != studies.benchmark:
            valid = [name for name, run in p.finetune.runs.items() if run.on == studies.benchmark]
            raise CionError(
                f"studies/params.yaml: few.run: no run {self.settings.run} on {studies.benchmark} in finetune.runs; "
                f"valid: {', '.join(valid) or 'none'}"
            )
        for point in self.settings.lists:
            self.named(point)

    @property
    def methods(self) -> list[str]:
        return self.settings.methods

    def points(self) -> list[dict]:
        return [{"kind": kind, "share": share} for kind in self.settings.kinds for share in self.settings.shares]

    def lay_out(self, point: dict, seed: int, data: Path, out: Path) -> dict:
        images = tables.read(tables.Benchmark, data / "start" / self.settings.run / TRAINING)
        lists = {name_of(self.named(name)): Path(file) for name, file in self.settings.lists.items()}
        if file := lists.get(name_of(point)):
            chosen = listed(images, point["kind"], file)
        else:
            chosen = {IDENTITIES: few_identities, IMAGES: few_images}[point["kind"]](images, point["share"], seed)
        tables.write(tables.Benchmark, images[chosen], out / TRAINING)
        return {"people": int(images.person[chosen].nunique()), "images": int(chosen.sum())}

    def train(self, laid: Path, method: str, seed: int, data: Path, root: Path) -> dict:
        run, backbone, benchmark = self.settings.run, self.studies.backbone, self.studies.benchmark
        name, start = f"{method}-{backbone}", Path("start") / self.settings.run
        told = load(data / start / f"{name}.json")
        link(root / start / TRAINING, laid / TRAINING)
        link(root / start / f"{name}.json", data / start / f"{name}.json")
        link(root / told["folder"], data / told["folder"])
        link(root / "pretrain" / name, data / "pretrain" / name)  # what the report says of the method
        link(root / "benchmark", data / "benchmark")
        if not (root / "finetune" / run / name).exists():
            finetuning.run(self.finetune(seed), run, method, backbone, self.p.runtime, root)
        evaluation.run(self.p.evaluate, benchmark, method, backbone, run, self.p.runtime, root)
        return {"steps": steps_of(root / "finetune" / run / name), **scores(root, benchmark, run, name)}

    def files(self, method: str) -> list[str]:
        return [*self.inputs, f"start/{self.settings.run}/{method}-{self.studies.backbone}.json"]

    def finetune(self, seed: int) -> Finetune:
        """The settings of fine-tuning with what `set` says, checked, and another seed."""
        values = self.p.finetune.model_dump(by_alias=True)
        run = values["runs"][self.settings.run]
        run["set"] = run["set"] | self.settings.set
        return config.checked(values | {"seed": seed}, type(self.p.finetune), "studies/params.yaml: few.set")


def few_identities(images: pd.DataFrame, share: float, seed: int) -> np.ndarray:
    """Which images, bool [N]: all of ⌊share · people⌋ people. images: of training, tables.Benchmark.

    Of one seed, those of a smaller share are among those of a larger.
    """
    people = np.unique(images.person)
    count = share_of(share, len(people), "people", 2)
    return images.person.isin(np.random.default_rng(seed).permutation(people)[:count]).to_numpy()


def few_images(images: pd.DataFrame, share: float, seed: int) -> np.ndarray:
    """Which images, bool [N]: ⌊share · images⌋, everybody kept, by an even cap per person.

    Everybody's images come in a random order. Of each person the first c are taken, c as large as the number allows,
    and of some, drawn from those who have more, one further. Nested as `few_identities`.
    """
    rng = np.random.default_rng(seed)
    codes = pd.factorize(images.person, sort=True)[0]
    counts = np.bincount(codes)
    count = share_of(share, len(images), "images", len(counts))
    shuffled = rng.permutation(len(images))
    order = shuffled[np.argsort(codes[shuffled], kind="stable")]
    place = np.empty(len(images), np.int64)  # of an image among its person's
    place[order] = np.arange(len(images)) - np.repeat(np.cumsum(counts) - counts, counts)
    cap = max(c for c in range(counts.max() + 1) if np.minimum(counts, c).sum() <= count)
    more = rng.permutation(len(counts))
    more = more[counts[more] > cap][: count - np.minimum(counts, cap).sum()]
    return place < cap + np.isin(np.arange(len(counts)), more)[codes]


def share_of(share: float, total: int, what: str, least: int) -> int:
    """⌊share · total⌋; CionError where it is below `least`."""
    count = math.floor(round(share * total, 6))  # 0.7 · 10 is 6.999...
    if count < least:
        raise CionError(
            f"studies/params.yaml: few.shares: {share:g} of {total} {what} is {count}; valid: from "
            f"{math.ceil(1000 * least / total) / 1000:g} on"
        )
    return count


def listed(images: pd.DataFrame, kind: str, file: Path) -> np.ndarray:
    """Which images, bool [N], a published list means: person numbers, or names of files, one a line.

    Raises:
        CionError: it is not there, or empty, or a line is nothing that the training images have.
    """
    try:
        lines = file.read_text().split()
    except FileNotFoundError:
        raise CionError(f"studies/params.yaml: few.lists: {file}: no such file") from None
    of = images.person.astype(str) if kind == IDENTITIES else images.path.map(lambda path: Path(path).name)
    known = set(of)
    wanted = [str(int(line)) if kind == IDENTITIES and line.isdecimal() else Path(line).name for line in lines]
    for number, (line, name) in enumerate(zip(lines, wanted, strict=True), 1):
        if name not in known:
            raise CionError(f"{file}: line {number}: {line}: none of the {len(known)} {kind} of training")
    if not lines:
        raise CionError(f"{file}: empty; valid: {kind}, one a line")
    return of.isin(wanted).to_numpy()
