"""Which preparation of images a model tells people apart best with: its card's, or a usual one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cion_core.embed.embedders.base import Embedder
from cion_core.progress import track

# A preparation is clearly better from so many standard errors on.
CLEAR = 3.0
# (mean, std) of images scaled to 0..1, by what it is called.
NORMALISATIONS = {
    "ImageNet's mean and std": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "mean 0.5 and std 0.5": ((0.5,) * 3, (0.5,) * 3),
    "no normalisation (values 0..1)": ((0.0,) * 3, (1.0,) * 3),
    "no scaling (values 0..255)": ((0.0,) * 3, (1 / 255,) * 3),
}
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class ImagePreparation:
    """One way to prepare images.

    Attributes:
        name: in words.
        mean: per RGB channel of images scaled to 0..1.
        std: as `mean`.
        bgr: whether the model is given blue first.
    """

    name: str
    mean: Triple
    std: Triple
    bgr: bool

    def equals(self, other: ImagePreparation) -> bool:
        """Whether images come out the same, whatever it is called."""
        return (self.mean, self.std, self.bgr) == (other.mean, other.std, other.bgr)


@dataclass(frozen=True)
class TriedPreparation:
    """How well people are told apart with one preparation.

    Attributes:
        way: the preparation.
        scores: float [P], 0..1, one for each person or tracklet.
    """

    way: ImagePreparation
    scores: np.ndarray

    @property
    def percent(self) -> float:
        """The mean score, in percent."""
        return 100 * float(self.scores.mean())

    def to_text(self) -> str:
        """A line for a terminal, with the standard error of the mean."""
        deviation = self.scores.std(ddof=1)
        error = 100 * deviation / len(self.scores) ** 0.5
        return f"{self.percent:5.1f} % ± {error:.1f}  {self.way.name}"


def try_preparations(
    embedder: Embedder,
    images: Sequence[np.ndarray],
    score: Callable[[np.ndarray], np.ndarray],
) -> list[TriedPreparation]:
    """Try all usual preparations of a model's images.

    Args:
        embedder: one whose preparation can be exchanged (see `Embedder.prepared_as`).
        images: RGB uint8 [H, W, 3], of any sizes.
        score: from features [n, D] of the images to how well each person is told apart, 0..1 [P].

    Returns:
        The card's own preparation first, then the others.
    """
    mean, std = embedder.preparation
    own = ImagePreparation("as its card says", tuple(mean), tuple(std), bgr=False)
    ways = [own]
    for bgr in (False, True):
        for name, (usual_mean, usual_std) in NORMALISATIONS.items():
            full_name = f"{name}, BGR" if bgr else name
            way = ImagePreparation(full_name, usual_mean, usual_std, bgr)
            if not way.equals(own):
                ways.append(way)

    results = []
    for way in track(ways, "try preparations", "way"):
        features = _embed_as(embedder, images, way)
        results.append(TriedPreparation(way, score(features)))
    return results


def _embed_as(
    embedder: Embedder,
    images: Sequence[np.ndarray],
    way: ImagePreparation,
) -> np.ndarray:
    """Features [n, D], of length 1, of images that are prepared in one way."""
    if not way.bgr:
        return embedder.prepared_as(way.mean, way.std)(images)
    # Images with blue first are images whose channels are reversed, and so are mean and std.
    reversed_images = [np.ascontiguousarray(image[..., ::-1]) for image in images]
    return embedder.prepared_as(way.mean[::-1], way.std[::-1])(reversed_images)


def find_best(results: Sequence[TriedPreparation]) -> TriedPreparation:
    """The preparation to use: the card's, which is the first, unless another is clearly better."""
    own = results[0]
    better = []
    for result in results:
        if standard_errors_above(result.scores, own.scores) > CLEAR:
            better.append(result)
    return max(better, key=lambda result: result.percent, default=own)


def standard_errors_above(first: np.ndarray, second: np.ndarray) -> float:
    """How clearly some scores exceed others of the same people.

    Args:
        first: float [P].
        second: float [P].

    Returns:
        The mean difference in its standard errors; 0 where the scores are equal.
    """
    difference = first - second
    if len(difference) < 2:
        return 0.0
    deviation = difference.std(ddof=1)
    error = deviation / len(difference) ** 0.5
    return float(difference.mean() / max(error, 1e-12))
