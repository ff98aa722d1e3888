"""Whether weights did anything, and whether their images are prepared as they were in training.

A model tells people apart best with the preparation that it was trained with. So rendered people,
several views each, are compared under the card's preparation and under the likely mistakes. If one
of these is clearly better, the card is wrong. And weights must be clearly better than those of a
fresh model.

One mistake is hard to see so: with red and blue swapped in all images a model loses little. There
batch norm helps. It remembers the mean of each channel from training, and with the right order of
colours the channels have these means.
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
from cion_core.deploy.agree import scale_to_unit
from cion_core.deploy.preparation import CLEAR, NORMALISATIONS, Triple, standard_errors_above
from cion_core.embed.embedders.base import Embedder
from cion_core.embed.model import embedder_name, load_embedder, locate
from cion_core.zoo import Card

# Rendered people that models are tried on, and images of each.
PEOPLE = 64
VIEWS = 4
# Images at once.
BATCH = 32
# Standard errors that are enough for a preparation where batch norm clearly knows its images
# better.
HINT = 1.0
# Models of random weights that a model is compared with.
FRESH_MODELS = 3
# Draws of people by which the error of batch norm's knowledge is measured.
DRAWS = 200


@dataclass(frozen=True)
class PreparedImages:
    """Images, and how they are prepared for a model.

    Attributes:
        images: uint8 [H, W, 3], VIEWS of each person after one another.
        mean: per channel of images scaled to 0..1.
        std: as `mean`.
    """

    images: Sequence[np.ndarray]
    mean: Triple
    std: Triple


@dataclass(frozen=True)
class Observation:
    """What a model makes of the rendered people.

    Attributes:
        features: float [N, D].
        scores: float [P], how well each person is told apart (see `score_people`).
        mean_shift: float [P, C], by how many of its standard deviations each channel that a batch
            norm sees is off the mean that it remembers; C is 0 without batch norm.
    """

    features: np.ndarray
    scores: np.ndarray
    mean_shift: np.ndarray

    @property
    def in_words(self) -> str:
        """The mean score."""
        return _say_share(self.scores)


def check_model(model: Path | str) -> list[str]:
    """Find what is wrong with whatever names a model (see `load_embedder`).

    Less can be found in a graph than in a backbone: there are no random weights of its structure to
    compare with.

    Returns:
        The faults in words; empty if none is found.
    """
    folder = locate(model)
    if embedder_name(folder) == "zoo":
        network, card = zoo.load(folder)
        return check_network(network, card)
    return check_embedder(load_embedder(folder))


def check_embedder(embedder: Embedder) -> list[str]:
    """As `check_model`, by features alone."""
    images = rendered.people(PEOPLE, VIEWS)
    if fault := find_degeneracy(embedder(images)):
        return [fault]
    if embedder.preparation is None:
        return []
    results = preparation.try_preparations(embedder, images, score_people)
    best = preparation.find_best(results)
    if best is results[0]:
        return []
    return [_say_wrong_preparation(best.way.name, best.scores, results[0].scores)]


def find_degeneracy(features: np.ndarray) -> str:
    """What keeps features [N, D] from telling anything apart; "" if nothing does."""
    if not np.isfinite(features).all():
        return "features that are not finite"
    if features.std(axis=0).max() < 1e-6 * np.abs(features).max():
        return "every image has the same feature"
    return ""


def check_network(model: nn.Module, card: Card) -> list[str]:
    """Find what is wrong with a network and its card.

    Args:
        model: in eval mode, on the CPU.
        card: its card.

    Returns:
        The faults in words; empty if none is found.
    """
    images = rendered.people(PEOPLE, VIEWS)
    own_way = PreparedImages(images, card.mean, card.std)
    own = observe(model, card, own_way)
    if fault := find_degeneracy(own.features):
        return [fault]

    # 1. Is another preparation clearly better than the card's? Random weights may have a favourite
    #    preparation, too. So under the better one the model must beat these as well.
    other_ways = _likely_mistakes(images, card)
    others = {name: observe(model, card, way) for name, way in other_ways.items()}
    better = [name for name, other in others.items() if _is_better(other, own)]
    if better:
        best = max(better, key=lambda name: others[name].scores.mean())
        if _find_equal_fresh(card, other_ways[best], others[best]) is None:
            return [_say_wrong_preparation(best, others[best].scores, own.scores)]

    # 2. Are the weights clearly better than random ones?
    fresh_scores = _find_equal_fresh(card, own_way, own)
    if fresh_scores is not None:
        return [
            "these weights did nothing: people are told apart no better than by random weights "
            f"({own.in_words}, and {_say_share(fresh_scores)})"
        ]
    return []


def _likely_mistakes(images: Sequence[np.ndarray], card: Card) -> dict[str, PreparedImages]:
    """The preparations that a card may have instead of the right one, by name."""
    swapped = [image[..., ::-1] for image in images]
    ways = {"BGR instead of RGB": PreparedImages(swapped, card.mean[::-1], card.std[::-1])}
    for name, (mean, std) in NORMALISATIONS.items():
        ways[name] = PreparedImages(images, mean, std)
    return ways


def _is_better(other: Observation, own: Observation) -> bool:
    """Whether another preparation is clearly better than the card's own.

    By how people are told apart; a hint of that is enough where batch norm knows the images clearly
    better.
    """
    gain = standard_errors_above(other.scores, own.scores)
    if gain > CLEAR:
        return True
    return gain > HINT and compare_mean_shifts(other.mean_shift, own.mean_shift) > CLEAR


def _find_equal_fresh(card: Card, way: PreparedImages, seen: Observation) -> np.ndarray | None:
    """The scores [P] of some random weights that a model is not clearly better than.

    None if it is clearly better than all FRESH_MODELS.
    """
    with torch.random.fork_rng():
        for seed in range(FRESH_MODELS):
            torch.manual_seed(seed)
            network = zoo.fresh(card).eval()
            fresh = observe(network, card, way)
            if not standard_errors_above(seen.scores, fresh.scores) > CLEAR:
                return fresh.scores
    return None


def score_people(features: np.ndarray, views: int = VIEWS) -> np.ndarray:
    """How well each person is told from the others.

    For each image, the share of pairs (own image, other's image) in which the own one is nearer:
    the area under the image's ROC curve. A person's score is the mean over their images.

    Args:
        features: float [N, D], `views` rows per person, one person after another.
        views: images of a person.

    Returns:
        float [N / views], 0..1; 0.5 by chance.
    """
    directions = scale_to_unit(features)
    similarity = directions @ directions.T
    count = len(directions)
    person = np.arange(count) // views
    shares = np.empty(count)
    for row in range(count):
        is_other = person != person[row]
        is_own = ~is_other
        is_own[row] = False
        to_own = similarity[row, is_own]
        to_others = similarity[row, is_other]
        shares[row] = np.mean(to_own[:, None] > to_others)
    return shares.reshape(-1, views).mean(axis=1)


def compare_mean_shifts(first: np.ndarray, second: np.ndarray) -> float:
    """How much better batch norm knows some images than others, by their mean shifts.

    What is compared is the square of each channel's mean shift, averaged over channels. The error
    of that comes from drawing the people again, with replacement.

    Args:
        first: `Observation.mean_shift` of the images, [P, C].
        second: of the others, [P, C].

    Returns:
        Standard errors by which the first are known better; 0 without batch norm.
    """
    people, channels = first.shape
    if not channels:
        return 0.0
    rng = np.random.default_rng(0)
    drawn = rng.integers(people, size=(DRAWS, people))

    def measure_gain(rows: np.ndarray) -> float:
        first_error = first[rows].mean(axis=0) ** 2
        second_error = second[rows].mean(axis=0) ** 2
        return np.mean(second_error - first_error)

    gain = measure_gain(np.arange(people))
    drawn_gains = np.array([measure_gain(rows) for rows in drawn])
    return float(gain / max(drawn_gains.std(), 1e-12))


def observe(model: nn.Module, card: Card, way: PreparedImages) -> Observation:
    """Run a model on prepared images of people.

    Args:
        model: in eval mode.
        card: for the size of its images.
        way: the images and their preparation.
    """
    shifts_of_batch: list[torch.Tensor] = []

    def note_shift(norm: nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
        mean = inputs[0].mean(dim=(2, 3))
        deviation = (norm.running_var + norm.eps).sqrt()
        shifts_of_batch.append((mean - norm.running_mean) / deviation)

    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(note_shift) for norm in norms]
    features = []
    shifts = []
    try:
        with torch.inference_mode():
            for start in range(0, len(way.images), BATCH):
                batch = way.images[start : start + BATCH]
                # The column of no channels is what there is without batch norm.
                shifts_of_batch[:] = [torch.empty(len(batch), 0)]
                tensor = zoo.to_tensor(batch, (card.image, way.mean, way.std))
                features.append(model(tensor))
                shifts.append(torch.cat(shifts_of_batch, dim=1))
    finally:
        for hook in hooks:
            hook.remove()

    all_features = torch.cat(features).numpy()
    all_shifts = torch.cat(shifts).numpy()
    images, channels = all_shifts.shape
    of_people = all_shifts.reshape(images // VIEWS, VIEWS, channels)
    mean_shift = of_people.mean(axis=1)
    return Observation(all_features, score_people(all_features), mean_shift)


def _say_wrong_preparation(name: str, scores: np.ndarray, own_scores: np.ndarray) -> str:
    shares = f"{_say_share(scores)}, and {_say_share(own_scores)} as the card says"
    better = f"people are told apart better with {name} ({shares})"
    return f"images are not prepared as in training: {better}"


def _say_share(scores: np.ndarray) -> str:
    return f"{100 * scores.mean():.1f} % of pairs in the right order"
