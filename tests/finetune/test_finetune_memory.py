"""The memory of clusters: updated as published, by hand and written out."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import normalize

from cion_core.finetune.memory import ClusterMemory


def turned(*degrees: float) -> torch.Tensor:
    angles = torch.tensor(degrees) * math.pi / 180
    return torch.stack([angles.cos(), angles.sin()], 1)


def literal(
    centres: torch.Tensor, features: torch.Tensor, clusters: torch.Tensor, momentum: float
) -> torch.Tensor:
    """CM_Hard of the published code, cluster by cluster."""
    out = centres.clone()
    for cluster in set(clusters.tolist()):
        own = [
            feature
            for feature, of in zip(features, clusters.tolist(), strict=True)
            if of == cluster
        ]
        hardest = min(own, key=lambda feature: float(feature @ centres[cluster]))
        out[cluster] = momentum * out[cluster] + (1 - momentum) * hardest
        out[cluster] /= out[cluster].norm()
    return out


def test_the_least_similar_one_moves_a_centre_by_hand() -> None:
    memory = ClusterMemory(5, 2)
    memory.fill(turned(0, 90, 200))
    # 40° is farther from 0° than -30° is, so c becomes 0.2·(1, 0) + 0.8·(cos 40°, sin 40°), scaled
    # to length 1.
    memory.update(turned(-30, 40, 95), torch.tensor([0, 0, 1]), 0.2)
    x, y = 0.2 + 0.8 * math.cos(math.radians(40)), 0.8 * math.sin(math.radians(40))
    expected = torch.tensor([x, y]) / math.hypot(x, y)
    torch.testing.assert_close(memory.centres[0], expected)
    assert memory.centres[1] @ turned(94)[0] > 0.9999, "four fifths of the way to 95°"
    torch.testing.assert_close(memory.centres[2:], torch.cat([turned(200), torch.zeros(2, 2)]))


def test_it_is_the_published_update() -> None:
    torch.manual_seed(0)
    for _ in range(20):
        memory = ClusterMemory(9, 6)
        memory.fill(normalize(torch.randn(7, 6)))
        clusters, features = torch.randint(7, (24,)), normalize(torch.randn(24, 6))
        expected = literal(memory.centres, features, clusters, 0.2)
        memory.update(features, clusters, 0.2)
        torch.testing.assert_close(memory.centres, expected)


def test_a_round_of_fewer_clusters_forgets_those_of_the_last() -> None:
    memory = ClusterMemory(4, 2)
    memory.fill(turned(0, 30, 60, 90))
    memory.fill(turned(45, 180))
    assert memory.centres[2:].abs().max() == 0 and int(memory.count) == 2
    assert memory(turned(45)).shape == (1, 2)
    torch.testing.assert_close(
        memory(turned(45)), torch.tensor([[1.0, math.cos(math.radians(135))]])
    )
    again = ClusterMemory(4, 2)
    again.load_state_dict(memory.state_dict())
    assert int(again.count) == 2 and torch.equal(again.centres, memory.centres)
