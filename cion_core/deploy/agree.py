"""Whether two sets of features of the same images are the same for all practical purposes."""

from __future__ import annotations

import numpy as np

from cion_core.errors import CionError

# The least cosine between the two features of an image.
MIN_COSINE = 0.9999
# Cosine distances that differ by no more have no order.
TIE = 1e-5


def check_agreement(wanted: np.ndarray, found: np.ndarray, what: str) -> None:
    """Compare features of the same images, in direction and in ranking.

    Each image's two features must have a cosine of at least MIN_COSINE, and each image must rank
    all others alike.

    Args:
        wanted: float [N, D].
        found: float [N, D].
        what: the beginning of the error's message.

    Raises:
        CionError: they disagree; it says how.
    """
    if wanted.shape != found.shape:
        raise CionError(f"{what}: features {found.shape} where the model gives {wanted.shape}")
    if not np.isfinite(found).all():
        raise CionError(f"{what}: features that are not finite")
    wanted_unit = scale_to_unit(wanted)
    found_unit = scale_to_unit(found)

    cosine = (wanted_unit * found_unit).sum(axis=1)
    if cosine.min() < MIN_COSINE:
        row = int(cosine.argmin())
        measured = f"cosine {cosine[row]:.6f} with the model's feature of image {row}"
        raise CionError(f"{what}: {measured}; at least {MIN_COSINE}")

    wanted_distance = 1 - wanted_unit @ wanted_unit.T
    found_distance = 1 - found_unit @ found_unit.T
    found_order = np.argsort(found_distance, axis=1, kind="stable")
    for row, order in enumerate(found_order):
        # Along the found order the wanted distances must rise. Where one falls, an image was put
        # behind one that is farther away: [0, 0.2, 0.1] falls by 0.1.
        along_order = wanted_distance[row, order]
        falls = np.maximum.accumulate(along_order) - along_order
        if falls.max() > TIE:
            raise CionError(f"{what}: another ranking than the model's for image {row}")


def scale_to_unit(features: np.ndarray) -> np.ndarray:
    """Rows of length one, float64."""
    values = np.asarray(features, np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.maximum(lengths, 1e-12)
