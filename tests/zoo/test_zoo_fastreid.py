"""fast-reid's models against numbers that fast-reid 1.4.0 itself gave for weights made by the rule.

`fastreid_facts.json` was measured once: its package pins an old torch, so tests cannot ask it. Of
each model: parameters without what only training uses, a hash of keys and shapes, and features of
two images. The rule is that of the published zoo, but for the exponent of GeM (3 is added) and the
kernels of non-local blocks (a hundredth), without which features overflow.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rule_made import fill

from cion_core.errors import CionError
from cion_core.zoo import create_model, load_weights, names

FACTS = json.loads((Path(__file__).parent / "fastreid_facts.json").read_text())
QUICK = ("fastreid_bagtricks_r50", "fastreid_sbs_r50_ibn", "fastreid_mgn_r50_ibn")
EACH = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FACTS]


def ruled(key: str, value: torch.Tensor) -> torch.Tensor:
    if not value.is_floating_point():
        return torch.zeros_like(value)
    made = torch.as_tensor(fill(key, tuple(value.shape)))
    if key.endswith(".p"):
        return 3 + made
    return 0.01 * made if ".NL_" in key and value.ndim == 4 else made


def checkpoint(name: str) -> dict:
    """What fast-reid saves: the model with pixel mean and classifiers, and the training's state."""
    with torch.device("meta"):
        empty = create_model(name).state_dict()
    state = {
        key: ruled(key, torch.empty(value.shape, dtype=value.dtype)) for key, value in empty.items()
    }
    state |= {key: torch.zeros(7, 4) for key in FACTS[name]["dropped"]}
    state |= {"pixel_mean": torch.zeros(1, 3, 1, 1), "pixel_std": torch.ones(1, 3, 1, 1)}
    return {"model": state, "iteration": 17999, "optimizer": {"state": {0: {"step": 3}}}}


@pytest.mark.parametrize("name", EACH)
def test_a_checkpoint_of_fast_reid_gives_fast_reids_features(name: str, tmp_path: Path) -> None:
    known = FACTS[name]
    torch.save(checkpoint(name), tmp_path / "model_best.pth")
    model = create_model(name).eval()
    assert load_weights(model, tmp_path / "model_best.pth") == sorted(
        [*known["dropped"], "pixel_mean", "pixel_std"]
    )
    assert sum(p.numel() for p in model.parameters()) == known["params"]
    lines = [f"{key} {tuple(value.shape)}" for key, value in sorted(model.state_dict().items())]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == known["keys"]
    for size, wanted in known["outputs"].items():
        height, width = map(int, size.split("x"))
        images = np.random.default_rng([height, width, 0]).standard_normal((2, 3, height, width))
        with torch.inference_mode():
            found = model(torch.from_numpy(images.astype(np.float32))).numpy()
        first = np.array(wanted["first"])
        assert np.linalg.norm(found[:, :8] - first) <= 1e-4 * np.linalg.norm(first)
        assert np.allclose(np.linalg.norm(found, axis=1), wanted["norm"], rtol=1e-4)
        cosine = found[0] @ found[1] / np.prod(np.linalg.norm(found, axis=1))
        assert cosine == pytest.approx(wanted["cos01"], abs=1e-5)


def test_the_necks_old_name_is_known(tmp_path: Path) -> None:
    saved = checkpoint("fastreid_bagtricks_r50")
    state = {
        key.replace("heads.bottleneck.0.", "heads.bnneck."): value
        for key, value in saved["model"].items()
    }
    torch.save({"model": state}, tmp_path / "x.pth")
    model = create_model("fastreid_bagtricks_r50")
    load_weights(model, tmp_path / "x.pth")
    assert torch.equal(model.heads.bottleneck[0].weight, state["heads.bnneck.weight"])


def test_a_stronger_baseline_is_no_bag_of_tricks(tmp_path: Path) -> None:
    """Its non-local blocks must not be dropped in silence, nor blocks of another width taken."""
    torch.save(checkpoint("fastreid_sbs_r50"), tmp_path / "x.pth")
    with pytest.raises(CionError, match=r"left over: \d+ \(backbone\.NL_2"):
        load_weights(create_model("fastreid_bagtricks_r50"), tmp_path / "x.pth")
    with pytest.raises(
        CionError,
        match=r"other shape: .*NL_2\.0\.W\.0\.weight \(512, 1, 1, 1\) for \(512, 256, 1, 1\)",
    ):
        load_weights(create_model("fastreid_sbs_r50_half"), tmp_path / "x.pth")


@pytest.mark.parametrize("name", [name for name in names.BROUGHT["fast-reid"] if "_r50" in name])
def test_every_size_goes_in(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name).eval()
    with torch.inference_mode():
        assert model(torch.randn(1, 3, 96, 48)).shape == (1, model.num_features) == (1, 2048)
