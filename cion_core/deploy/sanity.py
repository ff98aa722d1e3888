"""Whether weights did anything, and whether their images are prepared as they were in training.

A model tells people apart best with the preparation that it was trained with. So rendered people, several views each,
are compared under the card's preparation and under the likely mistakes; what is clearly better than the card is what
the card should have said. And weights must be clearly better than those of a fresh model.

Red and blue swapped harm little where both images are swapped alike. There batch norm helps, which remembers the means
of its inputs in training: the right order of the channels brings back means that it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cion_core import rendered, zoo
from cion_core.deploy import preparation
from cion_core.deploy.agree import unit
from cion_core.deploy.preparation import CLEAR, NORMALISATIONS, better
from cion_core.embed.embedders.base import Embedder
from cion_core.embed.model import embedder_name, load_embedder, located
from cion_core.zoo import Card

PEOPLE, VIEWS = 64, 4
HINT = 1.0  # standard errors that are enough where batch norm's memory is clear
FRESH = 3  # models of random weights


@dataclass(frozen=True)
class Seen:
    """What a model makes of the people: features [N, D]; `apart` per person [P] as of `apart`; `shift` [P, C], by
    how many of its standard deviations each channel of a batch norm is off the mean that it remembers."""

    features: np.ndarray
    apart: np.ndarray
    shift: np.ndarray


def of_folder(model: Path | str) -> list[str]:
    """What is wrong with whatever names a model (see `load_embedder`), in words; empty if nothing is found.

    Of a graph less can be told than of a backbone: there are no random weights of its structure to compare with.
    """
    folder = located(model)
    if embedder_name(folder) == "zoo":
        return check(*zoo.load(folder))
    return check_embedder(load_embedder(folder))


def check_embedder(embedder: Embedder) -> list[str]:
    """As `check`, by features alone."""
    images = rendered.people(PEOPLE, VIEWS)
    if wrong := degenerate(embedder(images)):
        return [wrong]
    if embedder.preparation is None:
        return []
    results = preparation.tried(embedder, images, lambda features: apart(features, VIEWS))
    best = preparation.best(results)
    if best is results[0]:
        return []
    return [
        f"images are not prepared as in training: people are told apart better with {best.name} "
        f"({_share(best.scores)}, and {_share(results[0].scores)} as the card says)"
    ]


def degenerate(features: np.ndarray) -> str:
    """What keeps features [N, D] from telling anything apart; empty if nothing does."""
    if not np.isfinite(features).all():
        return "features that are not finite"
    if features.std(axis=0).max() < 1e-6 * np.abs(features).max():
        return "every image has the same feature"
    return ""


def check(model: nn.Module, card: Card) -> list[str]:
    """What is wrong with `model` (in eval mode) and its card, in words; empty if nothing is found."""
    images = rendered.people(PEOPLE, VIEWS)
    swapped = [image[..., ::-1] for image in images]
    own = look(model, images, (card.image, card.mean, card.std))
    if wrong := degenerate(own.features):
        return [wrong]
    ways = {
        "BGR instead of RGB": (swapped, card.mean[::-1], card.std[::-1]),
        **{name: (images, *how) for name, how in NORMALISATIONS.items()},
    }
    others = {name: look(model, of, (card.image, *how)) for name, (of, *how) in ways.items()}
    told = {name: better(other.apart, own.apart) for name, other in others.items()}
    right = [
        name for name in others
        if told[name] > CLEAR or (told[name] > HINT and familiar(others[name].shift, own.shift) > CLEAR)
    ]  # fmt: skip
    if right:
        best = max(right, key=lambda name: others[name].apart.mean())
        of, *how = ways[best]
        if _fresh(card, of, how, others[best]) is None:  # or random weights would have a favourite, too
            return [
                f"images are not prepared as in training: people are told apart better with {best} "
                f"({_share(others[best].apart)}, and {_share(own.apart)} as the card says)"
            ]
    if (fresh := _fresh(card, images, (card.mean, card.std), own)) is not None:
        return [
            "these weights did nothing: people are told apart no better than by random weights "
            f"({_share(own.apart)}, and {_share(fresh)})"
        ]
    return []


def _fresh(card: Card, images: Sequence[np.ndarray], how: Sequence, seen: Seen) -> np.ndarray | None:
    """How well some random weights tell people apart that `seen` is not clearly better than; None if there are none."""
    with torch.random.fork_rng():
        for seed in range(FRESH):
            torch.manual_seed(seed)
            network = zoo.fresh(card).eval()
            found = look(network, images, (card.image, *how)).apart
            if not better(seen.apart, found) > CLEAR:
                return found
    return None


def apart(features: np.ndarray, views: int) -> np.ndarray:
    """How well each person is told from the others: float [N / views] of features [N, D], `views` rows per person.

    Over a person's images, the share of (own, other's) pairs in which the own image is nearer: the area under the ROC
    curve of each image, averaged.
    """
    features = unit(features)
    near = features @ features.T
    person = np.arange(len(features)) // views
    shares = np.empty(len(features))
    for row, of in enumerate(near):
        own = (person == person[row]) & (np.arange(len(features)) != row)
        shares[row] = np.mean(of[own][:, None] > of[person != person[row]])
    return shares.reshape(-1, views).mean(axis=1)


def familiar(first: np.ndarray, second: np.ndarray, draws: int = 200) -> float:
    """By how many standard errors batch norm knows `first` [P, C] better than `second` [P, C]; 0 without batch norm.

    What is compared is the mean over channels of the squared mean shift; its error comes from drawing the people
    again, with replacement.
    """
    if not first.shape[1]:
        return 0.0
    rng = np.random.default_rng(0)
    rows = [np.arange(len(first)), *rng.integers(len(first), size=(draws, len(first)))]
    gains = np.array([np.mean(second[of].mean(axis=0) ** 2 - first[of].mean(axis=0) ** 2) for of in rows])
    return float(gains[0] / max(gains[1:].std(), 1e-12))


def look(model: nn.Module, images: Sequence[np.ndarray], how: tuple) -> Seen:
    """Run `model` on images of VIEWS views per person, prepared as `how` (see `zoo.to_tensor`)."""
    shifts: list[list[torch.Tensor]] = []

    def note(norm: nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
        shifts[-1].append((inputs[0].mean(dim=(2, 3)) - norm.running_mean) / (norm.running_var + norm.eps).sqrt())

    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    features = []
    try:
        with torch.inference_mode():
            for start in range(0, len(images), 32):
                shifts.append([])
                features.append(model(zoo.to_tensor(images[start : start + 32], how)))
    finally:
        for hook in hooks:
            hook.remove()
    every = torch.cat(features).numpy()
    shift = torch.cat([torch.cat(part, dim=1) if part else torch.empty(32, 0) for part in shifts])[: len(every)].numpy()
    people = len(every) // VIEWS
    return Seen(every, apart(every, VIEWS), shift.reshape(people, VIEWS, shift.shape[1]).mean(axis=1))


def _share(values: np.ndarray) -> str:
    return f"{100 * values.mean():.1f} % of pairs in the right order"
