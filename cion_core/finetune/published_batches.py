"""The published batch size, learning rate and warm-up of the bag of tricks, by backbone.

Read off the public configurations of CION_ReIDZoo: its folder TransReID has one for every backbone
on Market-1501 and on MSMT17.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

DataSet = Literal["market1501", "msmt17"]

WARMUP = 20 / 120  # of the epochs
LR = 4e-4 / 64  # for each image of a batch
# Data set: images of a batch: backbones.
BATCHES: dict[DataSet, dict[int, str]] = {
    "market1501": {
        512: "resnet50 resnet50_ibn vit_tiny vit_small",
        384: "vit_base",
        256: "convnext_small edgenext_small repvit_m1_0 resnet18 resnet18_ibn volo_d1 volo_d2",
        128: "repvit_m0_9 resnet101 resnet152 resnet152_ibn volo_d3",
        120: "convnext_base",
        64: "convnext_tiny edgenext_base edgenext_x_small fastvit_s12 fastvit_sa12 fastvit_sa24 "
        "ghostnet_1_0 ghostnet_1_3 repvit_m1_5 resnet101_ibn swin_tiny swin_small swin_base",
        32: "ghostnet_0_5",
    },
    "msmt17": {
        512: "vit_tiny vit_small",
        384: "vit_base",
        256: "convnext_small convnext_base",
        128: "resnet101 resnet101_ibn resnet152 resnet152_ibn volo_d1",
        64: "convnext_tiny edgenext_small edgenext_base fastvit_s12 fastvit_sa12 fastvit_sa24 "
        "ghostnet_1_0 ghostnet_1_3 repvit_m0_9 repvit_m1_0 repvit_m1_5 resnet50 resnet50_ibn "
        "swin_tiny swin_small swin_base volo_d2 volo_d3",
        32: "edgenext_x_small ghostnet_0_5 resnet18 resnet18_ibn",
    },
}


class BatchSettings(NamedTuple):
    """How many images; the highest learning rate; for which fraction of the epochs it rises."""

    size: int
    lr: float
    warmup: float


# Where a published configuration differs from `settings_for_batch`.
EXCEPTIONS: dict[tuple[DataSet, str], dict[str, float]] = {
    ("market1501", "convnext_base"): {"lr": 8e-4},
    ("market1501", "ghostnet_0_5"): {"warmup": 40 / 120},
    ("msmt17", "swin_base"): {"lr": 2e-4},
}


def settings_for_batch(size: int) -> BatchSettings:
    """Those of a batch of so many images; its learning rate is in proportion to it."""
    return BatchSettings(size, LR * size, WARMUP)


def published_settings(backbone: str, data_set: DataSet) -> BatchSettings | None:
    """Those of a backbone's configuration for a data set; None where there is none."""
    for size, backbones in BATCHES[data_set].items():
        if backbone in backbones.split():
            exceptions = EXCEPTIONS.get((data_set, backbone), {})
            return settings_for_batch(size)._replace(**exceptions)
    return None
