"""An image and its mirror image have one feature."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from cion_core.embed.batches import embed
from cion_core.embed.embedders.base import Embedder
from cion_core.embed.model import load_embedder
from cion_core.errors import CionError
from cion_core.evaluate.flip import Mirrored
from cion_core.runtime import Runtime
from cion_core.zoo import Card, create_model, save

CARD = Card("resnet10_ibn", "cion", (64, 32), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 256)


class Left(Embedder):
    """The colours of an image's left and right half: (left - 1/2, right - 1/2), normalised."""

    model, dim, weights = "left", 2, "abc"

    def __init__(self) -> None:
        pass

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        halves = [
            [part.mean() / 255 - 0.5 for part in np.array_split(image, 2, axis=1)]
            for image in images
        ]
        features = np.array(halves, np.float32).reshape(-1, 2)
        return features / np.linalg.norm(features, axis=1, keepdims=True)


def image(left: int, right: int) -> np.ndarray:
    return np.repeat(np.array([[left, right]], np.uint8), 3, axis=0)[..., None].repeat(3, axis=2)


@pytest.fixture
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (50 + 3 * i, 20 + i, 3), dtype=np.uint8) for i in range(5)]


def test_the_mean_of_both_sides_by_hand() -> None:
    """Left white, right grey at 5/8: (1/2, 1/8) and (1/8, 1/2) add up to the diagonal.

    Both have one length.
    """
    told = Mirrored(Left())([image(255, 159)])
    assert told == pytest.approx(np.full((1, 2), np.sqrt(0.5)))


def test_it_stands_in_for_its_embedder(images: list[np.ndarray]) -> None:
    mirrored = Mirrored(Left())
    assert (mirrored.model, mirrored.dim, mirrored.weights) == ("left", 2, "abc")
    assert mirrored([]).shape == (0, 2)
    assert np.array_equal(embed(mirrored, images.__getitem__, 5, 2, "test"), mirrored(images))


def test_a_mirror_image_has_the_same_feature_and_images_are_left_alone(
    images: list[np.ndarray],
) -> None:
    before = [image.copy() for image in images]
    mirrored = Mirrored(Left())
    assert np.array_equal(mirrored(images), mirrored([image[:, ::-1] for image in images]))
    assert all(np.array_equal(a, b) for a, b in zip(images, before, strict=True))


@pytest.mark.parametrize("name", ["stripes", "zoo"])
def test_with_the_embedders_there_are(
    name: str, project: Path, tmp_path: Path, images: list[np.ndarray]
) -> None:
    if name == "stripes":
        folder = Path(shutil.copytree(project / "models/stripes", tmp_path / "stripes"))
    else:
        torch.manual_seed(0)
        folder = tmp_path / "round1"
        save(folder, create_model("resnet10_ibn", (64, 32)), CARD)
    embedder = load_embedder(folder, Runtime(device="cpu", batch=4))
    mirrored = Mirrored(embedder)
    features = mirrored(images)
    turned = [np.ascontiguousarray(image[:, ::-1]) for image in images]
    assert features.shape == (5, embedder.dim) and features.dtype == np.float32
    assert np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    assert np.allclose(features, mirrored(turned), atol=1e-6)
    assert (np.sum(features * embedder(images), axis=1) > 0.5).all(), (
        "near the feature of the image as it is"
    )


def test_opposite_features_are_refused() -> None:
    """White and black halves, (1/2, -1/2) and (-1/2, 1/2), cancel out; the loop names the row."""
    opposite = [image(255, 200), image(255, 0)]
    with pytest.raises(CionError, match="left gives no finite feature for row 1"):
        embed(Mirrored(Left()), opposite.__getitem__, 2, 8, "test")
