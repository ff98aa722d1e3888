"""Heads: the gain of the last layer cannot move, and batch norm is there only when asked for."""

import pytest
import torch
from torch import nn
from torch.nn.utils import weight_norm

from cion_core.pretrain.heads import DinoHead, MocoHead, load_published_head


def test_logits_are_cosines_whatever_the_size_of_the_weights():
    head = DinoHead(10, 32, hidden=16, bottleneck=8, batch_norm=False)
    x = torch.randn(5, 10)
    logits = head(x)
    assert logits.shape == (5, 32) and logits.abs().max() <= 1 + 1e-6
    with torch.no_grad():
        head.prototypes.mul_(7)
    torch.testing.assert_close(head(x), logits)


def test_batch_norm_is_optional():
    def norms(batch_norm):
        return sum(
            isinstance(m, nn.BatchNorm1d) for m in DinoHead(4, 8, 6, 3, batch_norm).modules()
        )

    assert (norms(False), norms(True)) == (0, 2)


def test_a_moco_head_gives_its_width():
    assert MocoHead(10, 4)(torch.zeros(3, 10)).shape == (3, 4)


@pytest.mark.parametrize(("last_layer", "length"), [("linear", 3**-0.5), ("normal", 0.32)])
def test_how_long_prototypes_are_at_first(last_layer, length):
    torch.manual_seed(0)
    head = DinoHead(4, 500, 6, 256, batch_norm=False, last_layer=last_layer)
    assert head.prototypes.norm(dim=1).mean().item() == pytest.approx(length, rel=0.02)


@pytest.mark.parametrize("width", [65_336, 65_536])
def test_a_published_head_of_either_width_gives_its_logits(width):
    """As published: three layers, and a last one of unit rows with its gain at 1."""
    torch.manual_seed(0)
    mlp = nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 5), nn.GELU(), nn.Linear(5, 4))
    last = weight_norm(nn.Linear(4, width, bias=False))
    last.weight_g.data.fill_(1)
    features = torch.randn(3, 6)
    wanted = last(nn.functional.normalize(mlp(features)))
    state = {f"mlp.{key}": value for key, value in mlp.state_dict().items()}
    state |= {f"last_layer.{key}": value for key, value in last.state_dict().items()}
    torch.testing.assert_close(load_published_head(state)(features), wanted)
