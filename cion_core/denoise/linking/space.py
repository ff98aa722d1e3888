"""The space in which reciprocal linking compares centroids: less what belongs to a video, adapted to the footage."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from cion_core.denoise.linking import adaptation, agglomeration
from cion_core.denoise.linking.belief import LEAST_SURE, SURE, asked
from cion_core.denoise.linking.nodes import Kept
from cion_core.denoise.linking.strangers import Strangers, measured
from cion_core.neighbours import search
from cion_core.neighbours.arrays import group_sums, unit
from cion_core.neighbours.rows import Rows
from cion_core.neighbours.similarity import similarity

ROUNDS = 2  # of linking to learn from
INSIDE = 0.25  # power to which what varies inside identities is scaled down: half of whitening
ACROSS = 0.5  # the same for what varies between linked ones, where they are surely right
EACH = 10  # times as many samples as directions that links must give to be believed half
LEARN = 10_000  # identities that are learnt from
SHRINK = 5.0  # identities' worth of trust in the global mean against a video's own


@dataclass(frozen=True)
class Space:
    """mean float32 [D]: of all centroids that were learnt from, None: videos' means stay; maps: float32 [D, D] each,
    applied one after another, scaled to unit length after each."""

    mean: np.ndarray | None
    maps: tuple[np.ndarray, ...]

    def of(self, centres: np.ndarray, videos: np.ndarray) -> np.ndarray:
        """Centroids [n, D] of the identities of whole videos (int [n], 0...) in this space, float32 [n, D]."""
        points = centres if self.mean is None else centred(centres, videos, self.mean)
        for matrix in self.maps:
            points = unit(points @ matrix)
        return points

    @property
    def unlinked(self) -> Space:
        """As it is before any link was learnt from."""
        return Space(self.mean, self.maps[:1])

    def arrays(self) -> Kept:
        """Itself as arrays by name, to be kept."""
        return {"maps": np.array(self.maps)} | ({} if self.mean is None else {"mean": self.mean})

    @classmethod
    def of_arrays(cls, kept: Kept) -> Space:
        """What `arrays` gave."""
        return cls(kept.get("mean"), tuple(kept["maps"]))


def centred(centres: np.ndarray, videos: np.ndarray, mean: np.ndarray | None = None) -> np.ndarray:
    """Centroids less their video's mean, which holds its background and colours; unit length, float32 [n, D].

    The mean is shrunk towards the global one (`mean` [D], None: that of `centres`) as if SHRINK further identities
    sat there: the mean of few identities is those identities, and without them nothing would be left.
    """
    if not len(centres):
        return centres
    count = np.bincount(videos)
    own = group_sums(centres, videos, len(count))
    own = (own + SHRINK * (centres.mean(0) if mean is None else mean)) / (count + SHRINK)[:, None]
    return unit(centres - own[videos])


def learnt(
    centres: np.ndarray,
    videos: np.ndarray,
    features: np.ndarray | Rows,
    groups: np.ndarray,
    forbidden: sparse.csr_matrix,
    start: np.ndarray,
    centre: bool = True,
    size: int | None = None,
) -> tuple[Space, np.ndarray]:
    """A space for the footage, and its centroids `centres` in it, float32 [n, D] of unit length.

    Less their video's mean (`centre`), and adapted: first to what varies inside identities (`groups` int [N] of
    `features`, -1: none), then in ROUNDS to what varies inside their surest links, as far as those are believed
    (`belief`): a space learnt from wrong links finds them right. Strangers are measured in the space before that, in
    which no link has a part. Links are learnt from the first position of the Sliding Range `size`, or LEARN points
    of it; identities begin in the sets `start` int [n] (the lowest of each).
    """
    space = Space(centres.mean(0) if centre and len(centres) else None, ())
    inside = adaptation.whitener(adaptation.residuals(features, groups), INSIDE)
    space = replace(space, maps=(np.eye(centres.shape[1], dtype=np.float32) if inside is None else inside,))
    points = space.of(centres, videos)
    first = slice(min(size or LEARN, LEARN))
    strangers = measured(points[first], videos[first])
    for _ in range(ROUNDS if strangers else 0):
        across = _across(points[first], videos[first], forbidden[first, first], start[first], strangers)
        if across is None:
            break
        space, points = replace(space, maps=(*space.maps, across)), unit(points @ across)
    return space, points


def _across(
    points: np.ndarray, videos: np.ndarray, forbidden: sparse.csr_matrix, start: np.ndarray, strangers: Strangers
) -> np.ndarray | None:
    """The map that scales down what varies inside the surest links among points; None if none are believed."""
    similar = similarity(points, search.neighbours(points, forbidden=forbidden))
    merges, belief = asked(similar, videos, forbidden, start, strangers)
    level = belief.best(SURE)
    trust = np.interp(belief.share(level), (LEAST_SURE, SURE), (0, ACROSS))
    if not trust > 0:
        return None
    label = agglomeration.cut(start, merges, level)
    groups = np.unique(label, return_inverse=True)[1]
    return adaptation.whitener(adaptation.residuals(points, groups), float(trust), EACH)
