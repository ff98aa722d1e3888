"""Weights that were trained on ImageNet, as timm has them: what ReID customarily begins with."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from cion_core.errors import CionError
from cion_core.pretrain.methods.base import ExternalWeights
from cion_core.pretrain.settings import Pretrain
from cion_core.registry import Style
from cion_core.zoo.hub import fetch
from cion_core.zoo.names import STRUCTURES

# Structures of the zoo that differ from timm's of that name.
UNLIKE_TIMM = ("ResNet-IBN", "RepViT", "ViT")


class Imagenet(ExternalWeights):
    """The weights that timm takes for the backbone, or those of a file that params.yaml names.

    Which data and training they are from is timm's choice, and in the card:
    `timm/convnext_tiny.in12k_ft_in1k` has also seen ImageNet-12k. Images are normalised as these
    weights want it.
    """

    about = "Weights trained on ImageNet, from timm"
    style = Style("#7a7a7a", (0, (3, 1.5)))

    def __init__(self, p: Pretrain, backbone: nn.Module, identities: int) -> None:
        super().__init__(p, backbone, identities)
        self.timm_config = getattr(backbone, "pretrained_cfg", None) or {}
        self.mean = tuple(self.timm_config.get("mean", self.mean))
        self.std = tuple(self.timm_config.get("std", self.std))

    def weights(self, backbone: str) -> tuple[Path, str]:
        if file := self.settings.files.get(backbone):
            return Path(file), file
        key = f"pretrain.{self.name}.files"
        repository = self.timm_config.get("hf_hub_id")
        if not repository or any(backbone in STRUCTURES[name] for name in UNLIKE_TIMM):
            raise CionError(
                f"pretrain.{self.name}: timm has no weights of {backbone}'s structure; name a "
                f"file that fits, as {key}: {{{backbone}: FILE}}, or leave this backbone out"
            )
        return fetch(repository, f"name the file as {key}: {{{backbone}: FILE}}"), repository
