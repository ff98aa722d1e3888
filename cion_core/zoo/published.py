"""Keys of published state dicts as the models here have them.

timm's own checkpoint filters translate the original repositories' names; what is here is what they
do not cover.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from itertools import count

import torch
from torch import nn

from cion_core import compat  # noqa: F401  before timm

# isort: split
from timm.models.repvit import RepVit
from timm.models.swin_transformer import SwinTransformer

from cion_core.zoo.checkpoints import State
from cion_core.zoo.fastreid import FastReid, FastReidMGN
from cion_core.zoo.transformers import ReidViT, ReidVOLO, resize_grid


def translate(model: nn.Module, state: Mapping[str, torch.Tensor]) -> State:
    """Translate a published state dict for a model.

    Args:
        model: of the architecture that the weights are for.
        state: in the names of whoever published it.

    Returns:
        `state` in the model's names, with position embeddings of its size. Keys that no rule knows
        stay.
    """
    state = dict(state)
    if isinstance(model, RepVit) and "features.0.0.c.weight" in state:
        return _renamed(state, repvit_prefixes(model))
    if isinstance(model, FastReid):
        # as before fast-reid's version 1.0
        return _renamed(state, {"heads.bnneck.": "heads.bottleneck.0."})
    if isinstance(model, SwinTransformer):
        state = _renamed(state, {"norm3.": "norm."})
    if isinstance(model, ReidViT | ReidVOLO):
        return _resized(model, state)
    return timm_filter(model)(state, model)


def classifier(model: nn.Module) -> tuple[str, ...]:
    """Name the parts of a checkpoint of this architecture that only training needs.

    Args:
        model: of the architecture.

    Returns:
        Names of modules and tensors, such as a classifier's; none where nothing is known.
    """
    if isinstance(model, FastReid | FastReidMGN):
        return model.heads_of_training
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def timm_filter(model: nn.Module) -> Callable[[State, nn.Module], State]:
    """Find timm's `checkpoint_filter_fn` for a model.

    Args:
        model: of timm, or of a class that has one of timm's as its base.

    Returns:
        (state, model) to state; changes nothing where timm has no such function.
    """
    for base in type(model).__mro__:
        if found := getattr(sys.modules[base.__module__], "checkpoint_filter_fn", None):
            return found
    return lambda state, _: state


def repvit_prefixes(model: RepVit) -> dict[str, str]:
    """Map the beginnings of RepViT's own names to timm's.

    RepViT numbers all blocks through, a downsampling as two; timm groups them into stages.

    Args:
        model: of timm, whose blocks are counted.

    Returns:
        Their prefix to timm's.
    """
    names = {"features.0.0.": "stem.conv1.", "features.0.2.": "stem.conv2."}
    number = count(1)

    def block(ours: str) -> None:
        theirs = f"features.{next(number)}"
        names.update(
            {
                f"{theirs}.token_mixer.0.": f"{ours}.token_mixer.",
                f"{theirs}.token_mixer.1.conv_reduce.": f"{ours}.se.fc1.",
                f"{theirs}.token_mixer.1.conv_expand.": f"{ours}.se.fc2.",
                f"{theirs}.channel_mixer.m.0.": f"{ours}.channel_mixer.conv1.",
                f"{theirs}.channel_mixer.m.2.": f"{ours}.channel_mixer.conv2.",
            }
        )

    for index, stage in enumerate(model.stages):
        if index:
            ours = f"stages.{index}.downsample"
            block(f"{ours}.pre_block")
            theirs = f"features.{next(number)}"
            names[f"{theirs}.token_mixer.0."] = f"{ours}.spatial_downsample."
            names[f"{theirs}.token_mixer.2."] = f"{ours}.channel_downsample."
            names[f"{theirs}.channel_mixer.m.0."] = f"{ours}.ffn.conv1."
            names[f"{theirs}.channel_mixer.m.2."] = f"{ours}.ffn.conv2."
        for place in range(len(stage.blocks)):
            block(f"stages.{index}.blocks.{place}")
    return names


def _renamed(state: State, prefixes: Mapping[str, str]) -> State:
    """`state` whose keys begin otherwise: {old beginning: new one}, the first that fits."""

    def rename(key: str) -> str:
        for old, new in prefixes.items():
            if key.startswith(old):
                return new + key.removeprefix(old)
        return key

    return {rename(key): value for key, value in state.items()}


def _resized(model: ReidViT | ReidVOLO, state: State) -> State:
    """`state` with position embeddings of the model's size.

    A ViT's grid is taken to be twice as high as wide, as published.
    """
    embedding = state.get("pos_embed")
    wanted = model.pos_embed
    if embedding is None or embedding.shape == wanted.shape:
        return state
    if isinstance(model, ReidVOLO):
        return state | {"pos_embed": resize_grid(embedding, wanted.shape[1:3])}
    # The class token's position, then a grid of 2·width rows and `width` columns.
    count = embedding.shape[1]
    width = round(((count - 1) / 2) ** 0.5)
    if count != 2 * width * width + 1:
        return state
    first = embedding[:, :1]
    grid = embedding[:, 1:].unflatten(1, (2 * width, width))
    resized = resize_grid(grid, model.patch_embed.grid_size)
    return state | {"pos_embed": torch.cat((first, resized.flatten(1, 2)), dim=1)}
