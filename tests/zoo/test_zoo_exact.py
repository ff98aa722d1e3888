"""A file of the published keys and shapes loads completely.

The features equal the published code's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cion_core.zoo import create_model, load_weights
from cion_core.zoo.published import repvit_prefixes


def test_features_equal_the_published_models(
    facts: dict, published: Callable, each: str, tmp_path: Path
) -> None:
    known = facts["models"][each]
    model = create_model(each).eval()
    torch.save(published(each), tmp_path / "published.pth")
    assert load_weights(model, tmp_path / "published.pth") == []
    assert sum(p.numel() for p in model.parameters()) == known["params"]
    assert model.num_features == known["embed_dim"]
    for size, wanted in facts["outputs"][each].items():
        height, width = map(int, size.split("x"))
        images = np.random.default_rng([height, width, 0]).standard_normal((2, 3, height, width))
        with torch.inference_mode():
            got = model(torch.from_numpy(images.astype(np.float32))).numpy()
        first = np.array(wanted["first"])
        assert np.linalg.norm(got[:, :16] - first) <= 1e-4 * np.linalg.norm(first)
        assert np.allclose(np.linalg.norm(got, axis=1), wanted["norm"], rtol=1e-4)
        cosine = got[0] @ got[1] / np.prod(np.linalg.norm(got, axis=1))
        assert cosine == pytest.approx(wanted["cos01"], abs=1e-3)


@pytest.mark.parametrize("name", ["repvit_m0_9", "repvit_m1_0", "repvit_m1_5"])
def test_repvit_names_come_in_the_published_order(facts: dict, name: str) -> None:
    """The renaming by structure against another way: both models register layers in one order."""
    with torch.device("meta"):
        model = create_model(name)
    theirs = [key for key, _, _ in facts["models"][name]["state"]]
    prefixes = repvit_prefixes(model)
    place = {key: next(old for old in prefixes if key.startswith(old)) for key in theirs}
    assert [prefixes[old] + key.removeprefix(old) for key, old in place.items()] == list(
        model.state_dict()
    )
