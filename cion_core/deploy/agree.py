"""Whether two sets of features of the same images are the same for all that anyone does with them."""

from __future__ import annotations

import numpy as np

from cion_core.errors import CionError

COSINE = 0.9999  # at least, between the two features of an image
TIE = 1e-5  # cosine distances this close have no order


def check(wanted: np.ndarray, found: np.ndarray, what: str) -> None:
    """Compare float [N, D] with float [N, D]; CionError begins with `what` and tells how they disagree.

    Each image's two features must have a cosine of at least COSINE, and each image must rank all others alike: an
    order counts as another where it puts an image first that is farther by more than TIE.
    """
    if wanted.shape != found.shape:
        raise CionError(f"{what}: features {found.shape} where the model gives {wanted.shape}")
    if not np.isfinite(found).all():
        raise CionError(f"{what}: features that are not finite")
    wanted, found = unit(wanted), unit(found)
    cosine = (wanted * found).sum(axis=1)
    if cosine.min() < COSINE:
        row = int(cosine.argmin())
        raise CionError(f"{what}: cosine {cosine[row]:.6f} with the model's feature of image {row}; at least {COSINE}")
    distance = 1 - wanted @ wanted.T
    for row, order in enumerate(np.argsort(1 - found @ found.T, axis=1, kind="stable")):
        along = distance[row, order]
        if (np.maximum.accumulate(along) - along).max() > TIE:
            raise CionError(f"{what}: another ranking than the model's for image {row}")


def unit(features: np.ndarray) -> np.ndarray:
    """Rows of length one, float64."""
    features = np.asarray(features, np.float64)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
