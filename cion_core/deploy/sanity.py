"""Whether weights did anything, and whether their images are prepared as they were in training.

A model tells people apart best with the preparation that it was trained with. So rendered people, several views each,
are compared under the card's preparation and under the likely mistakes; what is clearly better than the card is what
the card should have said. And weights must be clearly better than those of a fresh model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from cion_core import zoo
from cion_core.deploy import crops
from cion_core.deploy.agree import unit
from cion_core.zoo import Card

PEOPLE, VIEWS = 64, 4
CLEAR = 3.0  # standard errors, over people
FRESH = 3  # models of random weights
NORMALISATIONS = {
    "ImageNet's mean and std": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "mean 0.5 and std 0.5": ((0.5,) * 3, (0.5,) * 3),
    "no normalisation (values 0..1)": ((0.0,) * 3, (1.0,) * 3),
    "no scaling (values 0..255)": ((0.0,) * 3, (1 / 255,) * 3),
}


def check(model: nn.Module, card: Card) -> list[str]:
    """What is wrong with `model` (in eval mode) and its card, in words; empty if nothing is."""
    images = crops.rendered(PEOPLE, VIEWS)
    mirrored = [image[..., ::-1] for image in images]

    def told(network: nn.Module, mean: Sequence[float], std: Sequence[float], of=images) -> np.ndarray:
        return apart(_features(network, of, (card.image, tuple(mean), tuple(std))), VIEWS)

    features = _features(model, images, (card.image, card.mean, card.std))
    if not np.isfinite(features).all():
        return ["features that are not finite"]
    if features.std(axis=0).max() < 1e-6 * np.abs(features).max():
        return ["every image has the same feature"]
    own = apart(features, VIEWS)
    with torch.random.fork_rng():
        for seed in range(FRESH):
            torch.manual_seed(seed)
            fresh = told(zoo.create_model(card.backbone, card.image).eval(), card.mean, card.std)
            if not better(own, fresh) > CLEAR:
                return [
                    f"these weights did nothing: people are told apart no better than by random weights "
                    f"({own.mean():.3f} and {fresh.mean():.3f} of pairs in the right order)"
                ]
    others: dict[str, Callable[[], np.ndarray]] = {
        "BGR instead of RGB": lambda: told(model, card.mean[::-1], card.std[::-1], mirrored),
        **{name: lambda how=how: told(model, *how) for name, how in NORMALISATIONS.items()},
    }
    scores = {name: score() for name, score in others.items()}
    best = max(scores, key=lambda name: scores[name].mean())
    if better(scores[best], own) > CLEAR:
        return [
            f"images are prepared otherwise than in training: people are told apart better with {best} "
            f"({scores[best].mean():.3f} of pairs in the right order, {own.mean():.3f} as the card says)"
        ]
    return []


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


def better(first: np.ndarray, second: np.ndarray) -> float:
    """By how many standard errors of its mean `first` [P] exceeds `second` [P], paired; 0 where they are equal."""
    difference = first - second
    error = difference.std(ddof=1) / len(difference) ** 0.5
    return float(difference.mean() / max(error, 1e-12))


def _features(model: nn.Module, images: Sequence[np.ndarray], how: tuple) -> np.ndarray:
    with torch.inference_mode():
        return torch.cat([model(zoo.to_tensor(images[i : i + 32], how)) for i in range(0, len(images), 32)]).numpy()
