"""Heads: the gain of the last layer cannot move, and batch norm is there only when asked for."""

import torch
from torch import nn

from cion_core.pretrain.heads import DinoHead, MocoHead


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
        return sum(isinstance(m, nn.BatchNorm1d) for m in DinoHead(4, 8, 6, 3, batch_norm).modules())

    assert (norms(False), norms(True)) == (0, 2)


def test_moco_head():
    assert MocoHead(10, 4)(torch.zeros(3, 10)).shape == (3, 4)
