"""What others have published on Market-1501 and MSMT17, to stand beside ours.

README.md tells where the numbers are from.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
# The datasets, as columns of the files call them.
SETS = {"market": "Market-1501", "msmt": "MSMT17"}
# The backbones of which most is published.
REFERENCE = ("resnet50", "resnet50_ibn")
CION_SOURCE = "CION_ReIDZoo, results figure"
# Behind a model's name in results.csv; the others are fine-tuned with the TransReID recipe.
MGN = "+MGN@384"
# Ours of the same idea, by the name of the pre-training.
METHODS = {"CION": "cion", "ImageNet": "imagenet", "LUP": "lup", "LUP-NL (PNL)": "pnl"}
# The zoo's name by that of pretraining.csv, whose `+ ICS` has another stem than ours.
BACKBONES = {
    "ResNet50": "resnet50",
    "ResNet50-IBN": "resnet50_ibn",
    "ResNet101": "resnet101",
    "ResNet152": "resnet152",
    "ResNet101-IBN": "resnet101_ibn",
    "ResNet152-IBN": "resnet152_ibn",
    "ViT-S": "vit_small",
    "ViT-B": "vit_base",
    "Swin-T": "swin_tiny",
    "Swin-S": "swin_small",
    "Swin-B": "swin_base",
}


@dataclass(frozen=True)
class Contents:
    """What a dataset holds, by which a benchmark is recognised as it.

    Attributes:
        people: to train on, to be searched for.
        images: to train on, queries.
        galleries: how many gallery images it may have.
        cameras: how many.
    """

    people: tuple[int, int]
    images: tuple[int, int]
    galleries: tuple[int, ...]
    cameras: int


CONTENTS = {
    # The gallery has 3,819 junk images, which some leave out.
    "market": Contents((751, 750), (12936, 3368), (19732, 15913), 6),
    "msmt": Contents((1041, 3060), (32621, 11659), (82161,), 15),
}


@dataclass(frozen=True)
class Published:
    """One published result, in percent; None where the source has none.

    Attributes:
        pretraining, backbone, finetuning: as the source calls them.
        mAP, rank1: the result.
        source: where it was published.
        method: ours of the same idea; empty where there is none.
        model: the zoo's name of the backbone; empty where there is none.
    """

    pretraining: str
    backbone: str
    finetuning: str
    mAP: float
    rank1: float | None
    source: str
    method: str
    model: str


def recognise(about: dict) -> str | None:
    """Which of SETS a benchmark is, by what it holds and not by its name.

    Args:
        about: its benchmark.json.

    Returns:
        market, msmt, or None for any other.
    """
    counted_people, counted_images = about["people"], about["images"]
    people = (counted_people["train"], counted_people["test"])
    images = (counted_images["train"], counted_images["query"])
    for name, contents in CONTENTS.items():
        expected = (contents.people, contents.images, contents.cameras)
        if (people, images, about["cameras"]) == expected:
            return name if counted_images["gallery"] in contents.galleries else None
    return None


def select_results(dataset: str, backbones: list[str]) -> list[Published]:
    """What was published on one of SETS.

    Args:
        dataset: market or msmt.
        backbones: that are compared; CION's results are those of REFERENCE and of these.

    Returns:
        Every other pre-training, then CION's.
    """
    wanted = {*REFERENCE, *backbones}
    others = [_read_pretraining(row, dataset) for row in _other_pretrainings(dataset)]
    own = [result for result in _cion_results(dataset) if result.model in wanted]
    return others + own


def format_ours(result: Published, rows: list[dict]) -> str:
    """What we have of the same pre-training and backbone, trained on the same benchmark.

    Args:
        result: a published one.
        rows: of the comparison, on that benchmark.

    Returns:
        Each run with mAP and Rank-1, as `mgn 91.0, 96.2; supervised 88.1, 95.0`.
    """
    ours = []
    for row in rows:
        same = (row["method"], row["backbone"]) == (result.method, result.model)
        if same and row["setting"] == "finetuned":
            ours.append(f"{row['run']} {row['mAP']:.1f}, {row['rank1']:.1f}")
    return "; ".join(ours)


@cache
def results() -> dict[str, dict[str, float]]:
    """The numbers of results.csv by model; some are of another recipe, as ResNet50+MGN@384."""
    numbers_of = {}
    for row in _read_csv("results.csv"):
        model = row.pop("model")
        numbers_of[model] = {column: float(value) for column, value in row.items()}
    return numbers_of


def _other_pretrainings(dataset: str) -> list[dict[str, str]]:
    """The rows of pretraining.csv that have a number on a dataset."""
    return [row for row in _read_csv("pretraining.csv") if row[f"{dataset}_map"]]


def _read_pretraining(row: dict[str, str], dataset: str) -> Published:
    rank1 = row[f"{dataset}_r1"]
    return Published(
        pretraining=row["pretraining"],
        backbone=row["backbone"],
        finetuning=row["finetuning"],
        mAP=float(row[f"{dataset}_map"]),
        rank1=float(rank1) if rank1 else None,
        source=row["source"],
        method=METHODS.get(row["pretraining"], ""),
        model=BACKBONES.get(row["backbone"], ""),
    )


def _cion_results(dataset: str) -> list[Published]:
    published = []
    for model, numbers in results().items():
        backbone = model.removesuffix(MGN)
        recipe = "TransReID" if backbone == model else MGN.removeprefix("+")
        result = Published(
            pretraining="CION",
            backbone=backbone,
            finetuning=recipe,
            mAP=numbers[f"{dataset}_map"],
            rank1=numbers[f"{dataset}_r1"],
            source=CION_SOURCE,
            method=METHODS["CION"],
            model=BACKBONES.get(backbone, backbone),
        )
        published.append(result)
    return published


def _read_csv(name: str) -> list[dict[str, str]]:
    with open(HERE / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
