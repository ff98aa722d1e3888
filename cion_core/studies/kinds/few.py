"""What few labels do: fine-tuning on a share of the people, or of the images, of its benchmark.

As in LUPerson's tables (Fu et al. 2021): some people with all their images, or all people with some
of their images.
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
from cion_core.studies.kinds.base import Study, count_steps, read_scores

if TYPE_CHECKING:
    from cion_core.finetune.settings import Finetune
    from cion_core.project import Params
    from cion_core.studies.settings import Studies

IDENTITIES, IMAGES = "identities", "images"
# The table of the images of training.
TRAINING = "images.parquet"
# Shares are rounded to so many decimals first: 0.7 · 10 is 6.999...
DECIMALS = 6


class Few(Study):
    """Fine-tuning on a share of the people, or of the images.

    Epochs stay as they are, as published: fewer images are fewer steps.
    """

    about = "what few labels do: fine-tuning on a share of the people, or of the images"
    title = "How few labels it takes"
    axis = ("share", "share of the labels")
    panel = "kind"

    class Settings(Section):
        """What is fine-tuned, and on how much.

        Attributes:
            run: of `finetune.runs`.
            set: what it sets otherwise here, such as a batch that few people can fill.
            kinds: whether people or images are left out.
            shares: of the people or the images.
            lists: {point: file}, the published choice of a point such as `identities-0.1`; one
                person number or image name a line.
            methods: of `pretrain.methods`.
            seeds: of the choice and the training.
        """

        run: str
        set: dict[str, Any] = Field(default_factory=dict)
        kinds: Annotated[list[Literal["identities", "images"]], Field(min_length=1)]
        shares: Annotated[list[Annotated[Fraction, Field(gt=0)]], Field(min_length=1)]
        lists: dict[str, str] = Field(default_factory=dict)
        methods: Annotated[list[str], Field(min_length=1)]
        seeds: Annotated[list[Seed], Field(min_length=1)]

    def __init__(self, params: Params, studies: Studies) -> None:
        """Check the run and the lists too; see `Study`."""
        super().__init__(params, studies)
        benchmark = studies.benchmark
        valid = [name for name, run in params.finetune.runs.items() if run.on == benchmark]
        if self.settings.run not in valid:
            problem = f"no run {self.settings.run} on {benchmark} in finetune.runs"
            raise CionError(
                f"studies/params.yaml: few.run: {problem}; valid: {', '.join(valid) or 'none'}",
            )
        for point in self.settings.lists:
            self.find_point(point)

    @property
    def methods(self) -> list[str]:
        """Those of studies/params.yaml."""
        return self.settings.methods

    def points(self) -> list[dict]:
        """A point for each kind and share."""
        kinds, shares = self.settings.kinds, self.settings.shares
        return [{"kind": kind, "share": share} for kind in kinds for share in shares]

    def lay_out(self, point: dict, seed: int, data: Path, out: Path) -> dict:
        """Write the images of training that are chosen; see `Study.lay_out`."""
        file = data / "start" / self.settings.run / TRAINING
        images = tables.read(tables.Benchmark, file)
        chosen = self._choose(images, point, seed)
        tables.write(tables.Benchmark, images[chosen], out / TRAINING)
        people = images.person[chosen].nunique()
        return {"people": int(people), "images": int(chosen.sum())}

    def _choose(self, images: pd.DataFrame, point: dict, seed: int) -> np.ndarray:
        """Which images, bool [N]: by a published list where there is one, else at random."""
        for name, file in self.settings.lists.items():
            if self.find_point(name) == point:
                return read_list(images, point["kind"], Path(file))
        if point["kind"] == IDENTITIES:
            return choose_people(images, point["share"], seed)
        return choose_images(images, point["share"], seed)

    def train(self, laid_out: Path, method: str, seed: int, data: Path, workplace: Path) -> dict:
        """Fine-tune and evaluate; see `Study.train`."""
        run, backbone, benchmark = self.settings.run, self.shared.backbone, self.shared.benchmark
        runtime = self.params.runtime
        name = f"{method}-{backbone}"

        # 1. A folder that looks like data/, with the images of this point.
        start = Path("start") / run
        begins_with = load(data / start / f"{name}.json")["folder"]
        link(workplace / start / TRAINING, laid_out / TRAINING)
        # The pre-trained model tells what the report says of the method.
        models = [Path(begins_with), Path("pretrain") / name]
        for place in [start / f"{name}.json", *models, Path("benchmark")]:
            link(workplace / place, data / place)

        # 2. Train and evaluate.
        model = workplace / "finetune" / run / name
        if not model.exists():
            finetuning.run(self.finetune_settings(seed), run, method, backbone, runtime, workplace)
        evaluation.run(self.params.evaluate, benchmark, method, backbone, run, runtime, workplace)
        return {"steps": count_steps(model), **read_scores(workplace, benchmark, run, name)}

    def input_files(self, method: str) -> list[str]:
        """Those of every study, and what fine-tuning starts from."""
        start = f"start/{self.settings.run}/{method}-{self.shared.backbone}.json"
        return [*self.inputs, start]

    def finetune_settings(self, seed: int) -> Finetune:
        """The settings of fine-tuning with what `set` says, checked, and another seed."""
        finetune = self.params.finetune
        values = finetune.model_dump(by_alias=True)
        run = values["runs"][self.settings.run]
        run["set"] = run["set"] | self.settings.set
        values["seed"] = seed
        return config.checked(values, type(finetune), "studies/params.yaml: few.set")


def choose_people(images: pd.DataFrame, share: float, seed: int) -> np.ndarray:
    """All images of ⌊share · people⌋ people.

    Of one seed, those of a smaller share are among those of a larger.

    Args:
        images: a tables.Benchmark, of training.
        share: of the people.
        seed: of the choice.

    Returns:
        Which images, bool [N].

    Raises:
        CionError: these would be fewer than two people.
    """
    people = np.unique(images.person)
    count = count_share(share, len(people), "people", least=2)
    chosen = np.random.default_rng(seed).permutation(people)[:count]
    return images.person.isin(chosen).to_numpy()


def choose_images(images: pd.DataFrame, share: float, seed: int) -> np.ndarray:
    """⌊share · images⌋ images, with everybody kept, by an even cap per person.

    Everybody's images come in a random order. Of each person the first c are taken, c as large as
    the number allows, and of some, drawn from those who have more, one further. Of one seed, those
    of a smaller share are among those of a larger.

    For example, three people have 1, 3 and 4 images, and 6 of these 8 are to be taken: with c = 2
    they are 1 + 2 + 2, so one of the two others gives one further.

    Args:
        images: a tables.Benchmark, of training.
        share: of the images.
        seed: of the choice.

    Returns:
        Which images, bool [N].

    Raises:
        CionError: these would be fewer images than people.
    """
    rng = np.random.default_rng(seed)
    person, _ = pd.factorize(images.person, sort=True)
    sizes = np.bincount(person)
    total = count_share(share, len(images), "images", least=len(sizes))

    # 1. The place of each image among its person's, in a random order.
    shuffled = rng.permutation(len(images))
    by_person = shuffled[np.argsort(person[shuffled], kind="stable")]
    first_place = np.cumsum(sizes) - sizes
    place = np.empty(len(images), np.int64)
    place[by_person] = np.arange(len(images)) - np.repeat(first_place, sizes)

    # 2. The highest cap that takes no more than the total.
    cap = 0
    while cap < sizes.max() and np.minimum(sizes, cap + 1).sum() <= total:
        cap += 1

    # 3. The rest: one further image of some who have more.
    rest = total - np.minimum(sizes, cap).sum()
    drawn = rng.permutation(len(sizes))
    gives_further = drawn[sizes[drawn] > cap][:rest]
    own_cap = np.full(len(sizes), cap)
    own_cap[gives_further] += 1
    return place < own_cap[person]


def count_share(share: float, total: int, what: str, least: int) -> int:
    """⌊share · total⌋.

    Raises:
        CionError: it is below `least`.
    """
    count = math.floor(round(share * total, DECIMALS))
    if count < least:
        lowest = math.ceil(1000 * least / total) / 1000
        problem = f"{share:g} of {total} {what} is {count}; valid: from {lowest:g} on"
        raise CionError(f"studies/params.yaml: few.shares: {problem}")
    return count


def read_list(images: pd.DataFrame, kind: str, file: Path) -> np.ndarray:
    """Which images a published list means.

    Args:
        images: a tables.Benchmark, of training.
        kind: identities (the list has person numbers) or images (it has names of files).
        file: the list, one a line.

    Returns:
        bool [N].

    Raises:
        CionError: it is not there, or empty, or a line is nothing that the training images have.
    """
    try:
        lines = file.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        raise CionError(f"studies/params.yaml: few.lists: {file}: no such file") from None
    if not lines:
        raise CionError(f"{file}: empty; valid: {kind}, one a line")

    names = _list_names(images, kind)
    known = set(names)
    wanted = []
    for number, line in enumerate(lines, 1):
        name = Path(line).name
        if kind == IDENTITIES and line.isdecimal():
            # 0007 is person 7.
            name = str(int(line))
        if name not in known:
            problem = f"{line}: none of the {len(known)} {kind} of training"
            raise CionError(f"{file}: line {number}: {problem}")
        wanted.append(name)
    return names.isin(wanted).to_numpy()


def _list_names(images: pd.DataFrame, kind: str) -> pd.Series:
    """What a list calls each image: its person's number, or the name of its file."""
    if kind == IDENTITIES:
        return images.person.astype(str)
    return images.path.map(lambda path: Path(path).name)
