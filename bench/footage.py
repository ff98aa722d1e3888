"""Real tracklets for linking, and the regimes drawn from them.

A regime says who comes again, how often, and seen how.

Reads `../shared/data/reid_tracklets.npz` and `exchange.py` beside it; nothing of them enters the
project.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from simulator import simulate

from cion_core.denoise.cannot_link import homes

SHARED = Path(__file__).parents[2] / "shared/data"


@dataclass(frozen=True)
class Footage:
    """Crops as `denoise` wants them, with person and camera beside them.

    `features` are float32 [N, D], row i of crops.
    """

    crops: pd.DataFrame
    features: np.ndarray

    def keep(self, rows: np.ndarray) -> Footage:
        """Some of the crops (bool [N]), numbered anew."""
        crops = self.crops[rows].reset_index(drop=True)
        return Footage(crops.assign(crop=np.arange(len(crops))), self.features[rows])

    def relabelled(self, tracklets: np.ndarray) -> Footage:
        """The same crops in other tracklets."""
        return replace(self, crops=self.crops.assign(tracklet=tracklets))


def everybody(file: Path = SHARED / "reid_tracklets.npz") -> Footage:
    """All crops of the file."""
    with np.load(file) as held:
        columns = {
            name: held[name] for name in ("person", "camera", "sequence", "frame", "tracklet")
        }
        features = held["features"].astype(np.float32)
    crops = pd.DataFrame({name: values.astype(np.int64) for name, values in columns.items()})
    video = [
        f"c{camera}s{sequence}"
        for camera, sequence in zip(crops.camera, crops.sequence, strict=True)
    ]
    crops.insert(0, "video", video)
    crops.insert(0, "crop", np.arange(len(crops)))
    return Footage(crops, features)


def half(footage: Footage, second: bool) -> Footage:
    """One half of the people, always the same.

    Constants are chosen on the first half and reported on the second.
    """
    people = np.random.default_rng(14).permutation(np.unique(footage.crops.person))
    mine = people[len(people) // 2 :] if second else people[: len(people) // 2]
    return footage.keep(np.isin(footage.crops.person, mine))


def everyone(footage: Footage, seed: int) -> Footage:
    return footage


def again(share: float) -> Callable[[Footage, int], Footage]:
    """A share of the people in all their cameras, every other one in a camera drawn by seed."""

    def drawn(footage: Footage, seed: int) -> Footage:
        rng, crops = np.random.default_rng(seed), footage.crops
        people = rng.permutation(np.unique(crops.person))
        come_again = people[: round(share * len(people))]
        keep = np.isin(crops.person, come_again)
        for person, rows in sorted(crops.groupby("person").indices.items()):
            if person not in come_again:
                camera = rng.choice(np.unique(crops.camera.to_numpy()[rows]))
                keep[rows] = crops.camera.to_numpy()[rows] == camera
        return footage.keep(keep)

    return drawn


def cameras(count: int) -> Callable[[Footage, int], Footage]:
    """Some cameras only, drawn by seed."""

    def drawn(footage: Footage, seed: int) -> Footage:
        every = np.unique(footage.crops.camera)
        return footage.keep(
            np.isin(footage.crops.camera, np.random.default_rng(seed).permutation(every)[:count])
        )

    return drawn


def these(*wanted: int) -> Callable[[Footage, int], Footage]:
    """These cameras only."""
    return lambda footage, seed: footage.keep(np.isin(footage.crops.camera, wanted))


def videos(count: int) -> Callable[[Footage, int], Footage]:
    """Some videos only, drawn by seed."""

    def drawn(footage: Footage, seed: int) -> Footage:
        every = np.unique(footage.crops.video)
        return footage.keep(
            np.isin(footage.crops.video, np.random.default_rng(seed).permutation(every)[:count])
        )

    return drawn


def people(share: float) -> Callable[[Footage, int], Footage]:
    """Some of the people only, drawn by seed."""

    def drawn(footage: Footage, seed: int) -> Footage:
        every = np.random.default_rng(seed).permutation(np.unique(footage.crops.person))
        return footage.keep(np.isin(footage.crops.person, every[: round(share * len(every))]))

    return drawn


def one_crop(footage: Footage, seed: int) -> Footage:
    """One crop of each tracklet, drawn by seed."""
    shuffled = footage.crops.sample(frac=1, random_state=seed)
    return footage.keep(
        footage.crops.crop.isin(shuffled.drop_duplicates("tracklet").crop).to_numpy()
    )


def long(footage: Footage, seed: int) -> Footage:
    """Tracklets of three crops and more."""
    return footage.keep((footage.crops.groupby("tracklet").crop.transform("size") >= 3).to_numpy())


def dimensions(count: int) -> Callable[[Footage, int], Footage]:
    """A random projection of the features."""

    def drawn(footage: Footage, seed: int) -> Footage:
        matrix = (
            np.random.default_rng(seed)
            .standard_normal((footage.features.shape[1], count))
            .astype(np.float32)
        )
        return replace(footage, features=footage.features @ matrix)

    return drawn


def noisy(length: float) -> Callable[[Footage, int], Footage]:
    """Noise of this length on every unit feature."""

    def drawn(footage: Footage, seed: int) -> Footage:
        noise = (
            np.random.default_rng(seed).standard_normal(footage.features.shape).astype(np.float32)
        )
        return replace(
            footage, features=footage.features + noise * length / np.sqrt(noise.shape[1])
        )

    return drawn


def exchanged(probability: float = 0.05) -> Callable[[Footage, int], Footage]:
    """Crops exchanged inside their video."""

    def drawn(footage: Footage, seed: int) -> Footage:
        crops = footage.crops
        video = pd.factorize(crops.video)[0]
        return footage.relabelled(
            disturb().exchange(crops.tracklet.to_numpy(), video, probability, seed)
        )

    return drawn


def switched(count: int = 200) -> Callable[[Footage, int], Footage]:
    """Identity switches between long tracklets of a video."""

    def drawn(footage: Footage, seed: int) -> Footage:
        crops = footage.crops
        video = pd.factorize(crops.video)[0]
        columns = crops.tracklet.to_numpy(), crops.person.to_numpy(), video, crops.frame.to_numpy()
        return footage.relabelled(disturb().switch(*columns, count=count, seed=seed)[0])

    return drawn


def fragmented(footage: Footage, seed: int) -> Footage:
    """Every second tracklet of two crops and more is cut in the middle."""
    crops = footage.crops
    place = crops.groupby("tracklet").frame.rank(method="first").to_numpy()
    size = crops.groupby("tracklet").crop.transform("size").to_numpy()
    names = np.unique(crops.tracklet)
    cut = np.isin(crops.tracklet, np.random.default_rng(seed).permutation(names)[: len(names) // 2])
    late = cut & (size > 1) & (place > size / 2)
    return footage.relabelled(crops.tracklet.to_numpy() + late * (names.max() + 1))


def both(*steps: Callable[[Footage, int], Footage]) -> Callable[[Footage, int], Footage]:
    """One after another."""

    def drawn(footage: Footage, seed: int) -> Footage:
        for step in steps:
            footage = step(footage, seed)
        return footage

    return drawn


def disturb():
    """`exchange.py` as a module."""
    spec = importlib.util.spec_from_file_location("exchange", SHARED / "exchange.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REGIMES: dict[str, Callable[[Footage, int], Footage]] = {
    "all": everyone,
    "a tenth come again": again(0.1),
    "a third come again": again(1 / 3),
    "nobody comes twice": again(0),
    "cameras 3 and 6": these(3, 6),
    "cameras 1 and 2": these(1, 2),
    "two cameras": cameras(2),
    "three cameras": cameras(3),
    "four videos": videos(4),
    "ten videos": videos(10),
    "a quarter of the people": people(0.25),
    "one crop a tracklet": one_crop,
    "long tracklets": long,
    "64 dimensions": dimensions(64),
    "noise": noisy(0.5),
    "exchanged": exchanged(),
    "a tenth, exchanged": both(again(0.1), exchanged()),
    "switched": switched(),
    "fragmented": fragmented,
}


def simulated(seed: int, **settings: float) -> Footage:
    """The simulator's crops, of 300 people by default; a distractor is nobody else."""
    made = simulate(seed=seed, **({"people": 300} | settings))
    crops = made.crops.assign(
        person=np.where(made.crops.person < 0, -1 - made.crops.index, made.crops.person)
    )
    return Footage(crops.assign(camera=crops.video.str.partition("/")[0]), made.features)


def demo(folder: Path) -> Footage:
    """The crops of a reproduced demo (its folder data), with the people that the audit found."""
    crops = (
        pd.read_parquet(folder / "tracklets/crops.parquet")
        .sort_values("crop")
        .reset_index(drop=True)
    )
    people = pd.read_parquet(folder / "audit/people.parquet").set_index("crop").person
    crops = crops.assign(
        person=people.reindex(crops.crop).to_numpy(), camera=crops.video.str.partition("/")[0]
    )
    return Footage(crops, np.load(folder / "embeddings/features.npy").astype(np.float32))


def majority(groups: np.ndarray, people: np.ndarray) -> pd.Series:
    """The person of most rows of each group (ties: the lower), by group; int [n] both."""
    votes = (
        pd.DataFrame({"group": groups, "person": people})
        .value_counts()
        .rename("votes")
        .reset_index()
    )
    votes = votes.sort_values(["group", "votes", "person"], ascending=[True, False, True])
    return votes.drop_duplicates("group").set_index("group").person


def scores(footage: Footage, labels: np.ndarray) -> dict[str, float]:
    """Precision, recall, F1, and wrong links per tracklet.

    Pairs are of tracklets of different cameras. labels int [N], -1: none. A tracklet's person is
    that of most of its crops, its identity that of most of its kept.
    """
    crops = footage.crops
    home = homes(crops.tracklet.to_numpy(), labels)
    person = majority(crops.tracklet.to_numpy(), crops.person.to_numpy()).to_numpy()
    camera = crops.groupby("tracklet").camera.first().to_numpy()
    label = home.to_numpy()
    kept = label >= 0
    told = pairs(label[kept]) - pairs(label[kept], camera[kept])
    right = pairs(label[kept], person[kept]) - pairs(label[kept], person[kept], camera[kept])
    true = pairs(person) - pairs(person, camera)
    precision, recall = right / told if told else 1.0, right / true if true else 1.0
    f1 = 2 * right / (told + true) if told + true else 1.0
    return {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "wrong": (told - right) / len(home),
        "true": true,
    }


def pairs(*columns: np.ndarray) -> int:
    """Pairs of rows that agree in all columns, int [n] each."""
    count = np.unique(np.stack(columns, 1), axis=0, return_counts=True)[1]
    return int((count * (count - 1) // 2).sum())
