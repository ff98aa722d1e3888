"""Weights from files: ours, ReIDZoo's, timm's. No file is ever allowed to run code."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from cion_core.errors import CionError
from cion_core.zoo import published
from cion_core.zoo.published import State

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")  # in the order in which timm prefers them


def load_weights(model: nn.Module, file: Path | str, network: str = "teacher") -> list[str]:
    """Load `file` into `model` completely, or not at all.

    `file` is safetensors, or torch's format: a bare state dict, a training checkpoint of a `teacher` and a
    `student` (`network` is the one wanted, where both are there), with or without `module.` and `backbone.` before
    its keys, or timm's. Returns the keys that a backbone has no place for and that were therefore left out: the
    head of a training checkpoint, the classifier of timm's.

    Raises:
        CionError: no such file, not weights, more than tensors in it, or keys or shapes that do not fit: it lists
            what is missing and what is left over.
    """
    file = Path(file)
    state, dropped = unwrap(read(file), network)
    state, classifier = _headless(model, state)
    if problems(model, state):
        try:
            translated, more = _headless(model, published.translate(model, state))
        except (KeyError, IndexError, AttributeError, RuntimeError, ValueError):  # of a filter meant for other keys
            translated, more = state, []
        if len(problems(model, translated)) < len(problems(model, state)):
            state, classifier = translated, classifier + more
    put(model, state, f"{file} does not fit {type(model).__name__}")
    return sorted(dropped + classifier)


def _headless(model: nn.Module, state: State) -> tuple[State, list[str]]:
    """`state` without timm's classifier, and the keys of that."""
    places = tuple(f"{name}." for name in published.classifier(model))
    heads = [key for key in state if key.startswith(places)]
    return {key: value for key, value in state.items() if key not in heads}, heads


def put(model: nn.Module, state: Mapping[str, torch.Tensor], where: str) -> None:
    """Load a state dict of exactly `model`'s keys and shapes; CionError begins with `where` and lists what differs.

    Batch norm's counters of batches, which no feature depends on, may be absent.
    """
    if found := problems(model, state):
        kinds = [(kind, [text for of, text in found if of == kind]) for kind in ("missing", "left over", "other shape")]
        lists = [f"{kind}: {len(keys)} ({', '.join(keys[:5])})" for kind, keys in kinds if keys]
        raise CionError(f"{where}; {'; '.join(lists)}")
    model.load_state_dict(state, strict=False)


def problems(model: nn.Module, state: Mapping[str, torch.Tensor]) -> list[tuple[str, str]]:
    """What keeps `state` from fitting `model`: (missing, left over or other shape; the key)."""
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    shapes = [
        f"{key} {tuple(state[key].shape)} for {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    return [
        *(("missing", key) for key in sorted(missing)),
        *(("left over", key) for key in sorted(state.keys() - wanted.keys())),
        *(("other shape", text) for text in sorted(shapes)),
    ]


def read(file: Path) -> dict:
    """The content of a weights file, tensors on the CPU; nothing in it is executed."""
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        # DINO's checkpoints, and those made from its code, carry their command line: plain values in a Namespace.
        with torch.serialization.safe_globals([argparse.Namespace]):
            value = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CionError(f"{file}: no such file") from None
    except safetensors.SafetensorError as error:
        raise CionError(f"{file}: not a safetensors file ({error})") from None
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"{named[1]}, which" if named else "something else than tensors, which"
        raise CionError(
            f"{file}: refused: it asks for {what} could run code when it is loaded. "
            "Valid: safetensors, or tensors alone saved by torch.save(model.state_dict(), FILE)"
        ) from None
    except Exception as error:  # torch's unpickler raises whatever a garbled stream leads it to
        raise CionError(f"{file}: not a file of weights ({(str(error) or 'empty').splitlines()[0]})") from None
    if not isinstance(value, Mapping):
        raise CionError(f"{file}: holds a {type(value).__name__}; valid: a state dict, or a checkpoint with one")
    return dict(value)


def unwrap(value: Mapping, network: str = "teacher") -> tuple[State, list[str]]:
    """The backbone's state dict out of a checkpoint, its keys bare; and the keys of heads that were left out."""
    networks = sorted(("teacher", "student"), key=lambda name: name != network)
    while inner := next((name for name in (*networks, *WRAPPERS) if isinstance(value.get(name), Mapping)), None):
        value = value[inner]
    state, dropped = dict(value), []
    beside = {"module.": (), f"{networks[0]}.": (f"{networks[1]}.",), f"{networks[1]}.": (), "backbone.": ("head.",)}
    while prefix := next((p for p in beside if any(key.startswith(p) for key in state)), None):
        heads = [key for key in state if key.startswith(beside[prefix])]
        dropped += heads
        state = {key.removeprefix(prefix): value for key, value in state.items() if key not in heads}
    return state, dropped
