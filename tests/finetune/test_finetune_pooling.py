from __future__ import annotations

import pytest
import torch

from cion_core.finetune.pooling import GeM

MAPS = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float32)


def literal(maps: torch.Tensor, p: float) -> torch.Tensor:
    pooled = torch.zeros(maps.shape[:2])
    for image in range(maps.shape[0]):
        for channel in range(maps.shape[1]):
            values = [max(value, 1e-6) ** p for value in maps[image, channel].flatten().tolist()]
            pooled[image, channel] = (sum(values) / len(values)) ** (1 / p)
    return pooled


@pytest.mark.parametrize("power", [1.0, 2.5, 3.0, 6.0])
def test_equal_to_the_literal_definition(power: float) -> None:
    torch.testing.assert_close(GeM(power)(MAPS), literal(MAPS, power), rtol=1e-4, atol=1e-6)


def test_generalised_mean_by_hand() -> None:
    maps = torch.tensor([[[[1.0, 2.0, 3.0]], [[2.0, 2.0, 2.0]], [[-4.0, -5.0, -1.0]]]])
    cubes = [(1 + 8 + 27) / 3, 8, 1e-18]  # what is negative counts as the least there is
    torch.testing.assert_close(GeM()(maps), torch.tensor([cubes]) ** (1 / 3))


def test_the_power_begins_at_three_and_is_learnt() -> None:
    pool = GeM()
    assert pool.p.item() == 3
    moved = {}
    for power in (2.99, 3.01):
        moved[power] = literal(MAPS, power).sum().item()
    pool(MAPS).sum().backward()
    slope = (moved[3.01] - moved[2.99]) / 0.02
    assert slope > 0.1 and pool.p.grad.item() == pytest.approx(slope, rel=1e-2)


def test_cubes_of_what_float16_holds_do_not_overflow() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = GeM()(torch.full((1, 1, 2, 2), 6e4, dtype=torch.float16))
    assert found.dtype == torch.float32 and found.item() == pytest.approx(6e4, rel=1e-3)
