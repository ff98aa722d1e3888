"""Noise against counting by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cion_core.denoise import cannot_link, noise
from cion_core.denoise.settings import Thresholds


def ring(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def test_measure_by_hand() -> None:
    features = ring(0, 20, 30, 50, 180)
    labels = np.array([7, 7, 3, 3, -1])
    # centroids at 10° and 40°; every sample 10° off; centroids 30° apart
    measured = noise.measure(
        features, labels, Thresholds(radius=1 - np.cos(np.deg2rad(9)), separation=0.2)
    )
    assert (measured.crops, measured.identities, measured.outside, measured.close_pairs) == (
        4,
        2,
        4,
        1,
    )
    assert measured.largest_radius == pytest.approx(1 - np.cos(np.deg2rad(10)), abs=1e-6)
    measured = noise.measure(features, labels, Thresholds(radius=0.1, separation=0.1))
    assert (measured.outside, measured.close_pairs) == (0, 0)


def test_measure_skips_the_forbidden_and_a_tally_compares_within_its_pieces() -> None:
    features, labels = ring(0, 1, 2), np.array([0, 1, 2])
    limit = Thresholds(separation=0.5)
    assert noise.measure(features, labels, limit).close_pairs == 3
    crops = pd.DataFrame(
        {"crop": [0, 1, 2], "video": "v", "frame": [4, 4, 5], "tracklet": [0, 1, 2]}
    )
    forbidden = cannot_link.forbidden_pairs(crops, labels, cannot_link.crop_pairs(crops))
    assert noise.measure(features, labels, limit, forbidden=forbidden).close_pairs == 2
    tally = noise.Tally(limit)
    for piece in (slice(2), slice(2, 3)):
        tally.add(features[piece], labels[piece], None)
    assert (tally.measured().close_pairs, tally.measured().identities) == (1, 3)


def test_no_labels_is_no_noise() -> None:
    measured = noise.measure(ring(0, 1), np.array([-1, -1]), Thresholds(0.1, 0.1))
    assert (measured.crops, measured.identities) == (0, 0)
