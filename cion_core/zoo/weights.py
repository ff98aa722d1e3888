"""Weights into models: ours, ReIDZoo's, timm's, torchreid's, fast-reid's, in any wrapping.

A checkpoint may keep its network under `state_dict`, `net` or `model`, with `module.`, `base.` or
`encoder_q.` before each key, beside a second network and an optimiser. No list of such names could
be complete. So the wrapping is found from the model: it is the prefix under which all keys that
the model wants are there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from cion_core.errors import CionError
from cion_core.zoo import published
from cion_core.zoo.checkpoints import State, flatten, read

COUNTER = "num_batches_tracked"  # of batch norm; no feature depends on it
TRIED = 8  # prefixes that are looked at closely
NAMED = 5  # keys that an error names, of each kind of problem
# Parts that only training uses, wherever a trainer has put them beside the backbone.
HEADS = re.compile(
    r"head|classif|fc|cls|neck|proj|predict|logit|loss|queue|cent(er|re)|arcface|margin|reduction"
)


@dataclass(frozen=True)
class Fit:
    """How a checkpoint fits a model below one prefix.

    Attributes:
        prefix: what stands before the wanted keys, with its dot; empty for a bare state dict.
        state: the wanted tensors, in the model's names.
        dropped: keys of the same network that a backbone has no place for.
        problems: what keeps it from fitting: (missing, left over or other shape; the key).
        held: how many of the model's keys are there with their shape.
    """

    prefix: str
    state: State
    dropped: list[str]
    problems: list[tuple[str, str]]
    held: int


def load_weights(model: nn.Module, file: Path | str, network: str = "teacher") -> list[str]:
    """Load `file` into `model` completely, or not at all.

    Args:
        model: of the architecture that the weights are for.
        file: safetensors, or torch's format: a bare state dict, or a checkpoint of any wrapping.
        network: the one that is wanted of a checkpoint's `teacher` and `student`, where both are
            there.

    Returns:
        The keys beside the wanted ones that were left out: a head, a classifier, the mean of
        pixels.

    Raises:
        CionError: no such file, not weights, something in it that could run code, keys or shapes
            that do not fit, two networks that fit, or NaN. It lists what is missing and left over,
            and how near the best fit came.
    """
    fit = best_fit(model, read(file), network, str(file))
    if fit.problems:
        wanted = sum(not key.endswith(COUNTER) for key in model.state_dict())
        below = f" below {fit.prefix!r}" if fit.prefix else ""
        near = f"the nearest fit has {fit.held} of {wanted} keys{below}"
        raise CionError(
            f"{file} does not fit {type(model).__name__}; {describe_problems(fit.problems)}; {near}"
        )
    if odd := [key for key, value in fit.state.items() if not _is_plain(value)]:
        raise CionError(
            f"{file}: {len(odd)} tensors are not plain numbers, the first {odd[0]}; "
            "valid: real, dense, not quantised, and with values"
        )
    require_finite(fit.state, file)
    model.load_state_dict(fit.state, strict=False)
    return fit.dropped


def _is_plain(value: torch.Tensor) -> bool:
    """Whether a tensor can be copied into a model's without loss of meaning."""
    return not (
        value.is_meta or value.is_complex() or value.is_quantized or value.layout != torch.strided
    )


def require_finite(state: Mapping[str, torch.Tensor], file: Path | str) -> None:
    """Refuse the weights that a failed training leaves behind.

    Args:
        state: what `file` holds.
        file: named in the error.

    Raises:
        CionError: a tensor holds NaN or infinity.
    """
    odd = [key for key, value in state.items() if not value.float().isfinite().all()]
    if odd:
        raise CionError(
            f"{file}: {len(odd)} tensors hold NaN or infinity, the first {odd[0]}; "
            "the training that wrote them had failed: take an earlier checkpoint"
        )


def put(model: nn.Module, state: Mapping[str, torch.Tensor], where: str) -> None:
    """Load a state dict of exactly a model's keys and shapes.

    Args:
        model: is given the weights.
        state: batch norm's counters of batches, which no feature depends on, may be absent.
        where: how an error begins.

    Raises:
        CionError: keys or shapes differ; lists them.
    """
    if found := problems(model.state_dict(), state):
        raise CionError(f"{where}; {describe_problems(found)}")
    model.load_state_dict(state, strict=False)


def describe_problems(found: list[tuple[str, str]]) -> str:
    """Tell problems in one line.

    Args:
        found: as `problems` returns them.

    Returns:
        How many there are of each kind, and the first of them.
    """
    sentences = []
    for kind in ("missing", "left over", "other shape"):
        keys = [key for its_kind, key in found if its_kind == kind]
        if keys:
            sentences.append(f"{kind}: {len(keys)} ({', '.join(keys[:NAMED])})")
    return "; ".join(sentences)


def problems(wanted: State, state: Mapping[str, torch.Tensor]) -> list[tuple[str, str]]:
    """Find what keeps a state dict from being the wanted one.

    Args:
        wanted: a model's own state dict.
        state: what is there.

    Returns:
        (kind, key) of each problem; a kind is "missing", "left over" or "other shape".
    """
    missing, other_shape = [], []
    for key, value in wanted.items():
        if key not in state:
            if not key.endswith(COUNTER):
                missing.append(key)
        elif state[key].shape != value.shape:
            other_shape.append(f"{key} {tuple(state[key].shape)} for {tuple(value.shape)}")
    left_over = state.keys() - wanted.keys()
    return [
        *(("missing", key) for key in sorted(missing)),
        *(("left over", key) for key in sorted(left_over)),
        *(("other shape", text) for text in sorted(other_shape)),
    ]


def best_fit(
    model: nn.Module, value: Mapping, network: str = "teacher", where: str = "the checkpoint"
) -> Fit:
    """Find the way in which a checkpoint fits a model, or comes nearest to it.

    Args:
        model: only its keys and shapes are looked at; it may be on the meta device.
        value: what `checkpoints.read` gives.
        network: preferred where several networks fit.
        where: begins the error.

    Raises:
        CionError: two networks fit, and nothing says which one is meant.
    """
    tensors, homes = flatten(value)
    wanted = model.state_dict()
    prefixes = _find_prefixes(tensors, wanted)
    fits = [_fit_below(model, wanted, tensors, homes, prefix) for prefix in prefixes]
    whole = [fit for fit in fits if not fit.problems]
    if not whole:
        return min(fits, key=lambda fit: (len(fit.problems), -fit.held))
    # Of nested prefixes the longest; of networks side by side the preferred one.
    best = min(_rank(fit.prefix, network) for fit in whole)
    preferred = [fit for fit in whole if _rank(fit.prefix, network) == best]
    longest = max(preferred, key=lambda fit: len(fit.prefix))
    if rivals := [fit.prefix for fit in preferred if not longest.prefix.startswith(fit.prefix)]:
        raise CionError(
            f"{where}: two networks fit, {rivals[0]!r} and {longest.prefix!r}; keep one of them "
            "in the file"
        )
    return longest


def _rank(prefix: str, network: str) -> int:
    """The place of the network below a prefix among those that fit: 0 is the first choice."""
    parts = prefix.split(".")
    averaged = any("ema" in part.split("_") for part in parts)
    choices = (
        network in parts,
        "teacher" in parts,
        averaged,
        "encoder_q" in parts,
        "encoder_k" not in parts,
    )
    return choices.index(True) if True in choices else len(choices)


def _find_prefixes(tensors: State, wanted: State) -> list[str]:
    """Prefixes that the wanted keys may stand below, the likeliest first.

    A key votes for each prefix behind which it is a wanted one. Where names must be translated
    first, hardly any key votes: so prefixes that many keys share are tried as well.

    Example:
        of `net.a.w` and `net.b.w`, where `a.w` and `b.w` are wanted, `net.` has two votes.
    """
    votes: Counter[str] = Counter()
    shared: Counter[str] = Counter()
    for key in tensors:
        for place in (0, *(match.end() for match in re.finditer(r"\.", key))):
            votes[key[:place]] += key[place:] in wanted
            shared[key[:place]] += 1
    enough = len(wanted) // 3
    likely = [prefix for prefix in shared if votes[prefix] or shared[prefix] > enough]
    likely.sort(key=lambda prefix: (-votes[prefix], -shared[prefix], len(prefix)))
    return likely[:TRIED] or [""]


def _fit_below(
    model: nn.Module, wanted: State, tensors: State, homes: dict[str, str], prefix: str
) -> Fit:
    """How the keys below `prefix` fit, in their own names or in translated ones."""
    below = [key for key in tensors if key.startswith(prefix)]
    inside = {key.removeprefix(prefix): tensors[key] for key in below}
    outside = _find_beside(homes, prefix)
    fits = []
    for state in _versions(model, inside):
        unknown = state.keys() - wanted.keys()
        heads = {key for key in unknown if _is_head(model, key, state[key], wanted)}
        kept = {key: tensor for key, tensor in state.items() if key not in heads}
        found = problems(wanted, kept)
        held = _count_held(wanted, kept)
        fits.append(Fit(prefix, kept, sorted([*heads, *outside]), found, held))
        if not found:
            break
    return min(fits, key=lambda fit: len(fit.problems))


def _count_held(wanted: State, state: State) -> int:
    """How many wanted keys are there with their shape; batch norm's counters are not counted."""
    held = 0
    for key, value in wanted.items():
        is_there = key in state and state[key].shape == value.shape
        held += is_there and COUNTER not in key
    return held


def _versions(model: nn.Module, state: State) -> Iterator[State]:
    """`state` as it is, and in the model's names where a translation is known."""
    yield state
    try:
        yield published.translate(model, state)
    except (KeyError, IndexError, AttributeError, RuntimeError, ValueError, NotImplementedError):
        return  # of a translation that is meant for other keys


def _is_head(model: nn.Module, key: str, tensor: torch.Tensor, wanted: State) -> bool:
    """Whether a key that the model has no place for belongs to what only training uses.

    A part of the backbone must not be left out in silence: more blocks than the model has, or an
    attention in between, make other features. So a key counts as a head's if the model names it so,
    or if its first name is none of the model's and it either sounds like a head's or is no kernel
    of a convolution.
    """
    places = published.classifier(model)
    if key in places or key.startswith(tuple(f"{place}." for place in places)):
        return True
    first = key.partition(".")[0]
    if any(name.partition(".")[0] == first for name in wanted):
        return False
    kernel = key.endswith("weight") and tensor.ndim >= 4
    return bool(HEADS.search(first.lower())) or not kernel


def _find_beside(homes: dict[str, str], prefix: str) -> list[str]:
    """Keys of the same mappings that lie outside of `prefix`, without what they share with it.

    Example:
        beside `module.base.`, the key `module.classifier.weight` is told as `classifier.weight`.
    """
    mappings = {home for key, home in homes.items() if key.startswith(prefix)}
    beginnings = [*_beginnings(prefix), ""]
    found = []
    for key, home in homes.items():
        if home in mappings and not key.startswith(prefix):
            shared = next(beginning for beginning in beginnings if key.startswith(beginning))
            found.append(key.removeprefix(shared))
    return found


def _beginnings(prefix: str) -> list[str]:
    """The beginnings of a prefix, longest first: `a.b.` -> [`a.b.`, `a.`]."""
    names = prefix.split(".")[:-1]
    return [".".join(names[:count]) + "." for count in range(len(names), 0, -1)]
