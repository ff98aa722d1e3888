"""Which preparation of images a model tells people apart best with: its card's, or one of the usual others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cion_core.embed.embedders.base import Embedder
from cion_core.progress import track

CLEAR = 3.0  # standard errors
NORMALISATIONS = {
    "ImageNet's mean and std": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "mean 0.5 and std 0.5": ((0.5,) * 3, (0.5,) * 3),
    "no normalisation (values 0..1)": ((0.0,) * 3, (1.0,) * 3),
    "no scaling (values 0..255)": ((0.0,) * 3, (1 / 255,) * 3),
}
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Tried:
    """How well people are told apart with one preparation.

    Attributes:
        name: in words.
        mean: per RGB channel of images scaled to 0..1.
        std: as `mean`.
        bgr: whether the model is given blue first.
        scores: float [P], 0..1, one for each person or tracklet.
    """

    name: str
    mean: Triple
    std: Triple
    bgr: bool
    scores: np.ndarray

    @property
    def mean_score(self) -> float:
        """In percent."""
        return 100 * float(self.scores.mean())

    def text(self) -> str:
        """For a terminal."""
        error = 100 * self.scores.std(ddof=1) / len(self.scores) ** 0.5
        return f"{self.mean_score:5.1f} % ± {error:.1f}  {self.name}"


def tried(
    embedder: Embedder, images: Sequence[np.ndarray], score: Callable[[np.ndarray], np.ndarray]
) -> list[Tried]:  # fmt: skip
    """All usual preparations of a model's images, the card's own first.

    Args:
        embedder: one whose preparation can be exchanged (see `Embedder.prepared_as`).
        images: RGB uint8 [H, W, 3], of any sizes.
        score: from features [n, D] of the images to how well each person is told apart, 0..1 [P].
    """
    mean, std = embedder.preparation
    ways = [("as its card says", mean, std, False)]
    for order in (False, True):
        ways += [(f"{name}{', BGR' * order}", *how, order) for name, how in NORMALISATIONS.items()]
    own = (tuple(mean), tuple(std), False)
    return [
        Tried(*way, score(features(embedder, images, *way[1:])))
        for index, way in enumerate(track(ways, "try preparations", "way"))
        if not index or way[1:] != own
    ]


def features(embedder: Embedder, images: Sequence[np.ndarray], mean: Triple, std: Triple, bgr: bool) -> np.ndarray:
    """Unit features [n, D] of images prepared in one way.

    Images in BGR are images whose channels are turned round, and so are then mean and std.
    """
    if bgr:
        images = [np.ascontiguousarray(image[..., ::-1]) for image in images]
        mean, std = mean[::-1], std[::-1]
    return embedder.prepared_as(mean, std)(images)


def best(all_tried: Sequence[Tried]) -> Tried:
    """The preparation to use: the card's, unless another is clearly better."""
    own = all_tried[0]
    clear = [one for one in all_tried if better(one.scores, own.scores) > CLEAR]
    return max(clear, key=lambda one: one.mean_score, default=own)


def better(first: np.ndarray, second: np.ndarray) -> float:
    """By how many standard errors of its mean `first` [P] exceeds `second` [P], paired; 0 where they are equal."""
    difference = first - second
    if len(difference) < 2:
        return 0.0
    error = difference.std(ddof=1) / len(difference) ** 0.5
    return float(difference.mean() / max(error, 1e-12))
