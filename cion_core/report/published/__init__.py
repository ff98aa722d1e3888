"""What others have published on Market-1501 and MSMT17, to stand beside ours: README.md tells where it is from."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
SETS = {"market": "Market-1501", "msmt": "MSMT17"}  # as columns of the files call them
REFERENCE = ("resnet50", "resnet50_ibn")  # backbones of which most is published
CION_SOURCE = "CION_ReIDZoo, results figure"
MGN = "+MGN@384"  # behind a model's name in results.csv; the others are fine-tuned with the TransReID recipe
METHODS = {"CION": "cion", "ImageNet": "imagenet", "LUP": "lup", "LUP-NL (PNL)": "pnl"}  # ours, of the same idea
BACKBONES = {  # as pretraining.csv spells those of the zoo; its `+ ICS` has another stem than ours
    "ResNet50": "resnet50", "ResNet50-IBN": "resnet50_ibn", "ResNet101": "resnet101", "ResNet152": "resnet152",
    "ResNet101-IBN": "resnet101_ibn", "ResNet152-IBN": "resnet152_ibn", "ViT-S": "vit_small", "ViT-B": "vit_base",
    "Swin-T": "swin_tiny", "Swin-S": "swin_small", "Swin-B": "swin_base",
}  # fmt: skip
PEOPLE = {"market": (751, 750), "msmt": (1041, 3060)}  # to train on, to be searched for
IMAGES = {"market": (12936, 3368), "msmt": (32621, 11659)}  # to train on, queries
GALLERY = {"market": (19732, 15913), "msmt": (82161,)}  # Market-1501's with its 3,819 junk images, or without
CAMERAS = {"market": 6, "msmt": 15}


@dataclass(frozen=True)
class Published:
    """One published result, in percent; None where the source has none.

    Attributes:
        method, model: ours of the same idea and the zoo's name of the backbone; empty where there is none.
    """

    pretraining: str
    backbone: str
    finetuning: str
    mAP: float
    rank1: float | None
    source: str
    method: str
    model: str


def recognised(about: dict) -> str | None:
    """Which of SETS a benchmark is, by what its benchmark.json counts and not by its name; None: neither."""
    people = (about["people"]["train"], about["people"]["test"])
    images = (about["images"]["train"], about["images"]["query"])
    for name in SETS:
        if (people, images, about["cameras"]) == (PEOPLE[name], IMAGES[name], CAMERAS[name]):
            return name if about["images"]["gallery"] in GALLERY[name] else None
    return None


def of(name: str, backbones: list[str]) -> list[Published]:
    """What was published on one of SETS: every other pre-training, CION's of REFERENCE and of these backbones."""
    found = [_pretraining(row, name) for row in _read("pretraining.csv") if row[f"{name}_map"]]
    return [*found, *(row for row in _cion(name) if row.model in {*REFERENCE, *backbones})]


def ours(one: Published, rows: list[dict]) -> str:
    """What the comparison's rows of that benchmark have of the same pre-training and backbone, trained on it.

    As `mgn 91.0, 96.2; supervised 88.1, 95.0`: each run with mAP and Rank-1; empty where there is none.
    """
    same = [row for row in rows if (row["method"], row["backbone"]) == (one.method, one.model)]
    return "; ".join(
        f"{row['run']} {row['mAP']:.1f}, {row['rank1']:.1f}" for row in same if row["setting"] == "finetuned"
    )


@cache
def results() -> dict[str, dict[str, float]]:
    """Model to its numbers in results.csv; some rows are of another recipe, such as ResNet50+MGN@384."""
    return {row.pop("model"): {key: float(value) for key, value in row.items()} for row in _read("results.csv")}


def _pretraining(row: dict[str, str], name: str) -> Published:
    rank1 = row[f"{name}_r1"]
    return Published(
        row["pretraining"], row["backbone"], row["finetuning"], float(row[f"{name}_map"]),
        float(rank1) if rank1 else None, row["source"],
        METHODS.get(row["pretraining"], ""), BACKBONES.get(row["backbone"], ""),
    )  # fmt: skip


def _cion(name: str) -> list[Published]:
    found = []
    for spelt, values in results().items():
        plain = spelt.removesuffix(MGN)
        recipe = "TransReID" if plain == spelt else MGN.removeprefix("+")
        scores = values[f"{name}_map"], values[f"{name}_r1"]
        found.append(Published("CION", plain, recipe, *scores, CION_SOURCE, "cion", BACKBONES.get(plain, plain)))
    return found


def _read(file: str) -> list[dict[str, str]]:
    with open(HERE / file, newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))
