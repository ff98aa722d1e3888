"""Batch norm over groups: as if each were on a card of its own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from cion_core.finetune.groups import apply_in_groups, frozen_running_means


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(24, 5), nn.BatchNorm1d(5)
    ).train()


IMAGES = torch.randn(10, 3, 5, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("size", "parts"), [(4, (4, 4, 2)), (5, (5, 5)), (10, (10,)), (None, (10,))]
)
def test_equal_to_a_network_for_each_group(
    network: nn.Module, size: int | None, parts: tuple[int, ...]
) -> None:
    cards = [copy.deepcopy(network) for _ in parts]
    features = apply_in_groups(network, IMAGES, size)
    expected = torch.cat(
        [card(part) for card, part in zip(cards, IMAGES.split(parts), strict=True)]
    )
    torch.testing.assert_close(features, expected, rtol=0, atol=0)
    for name, kept in network.named_buffers():
        torch.testing.assert_close(
            kept, cards[0].get_buffer(name), rtol=0, atol=0, msg=f"the first card's {name}"
        )
    features.pow(3).sum().backward()
    expected.pow(3).sum().backward()
    # The cards' gradients are summed, as after an all-reduce.
    for name, weight in network.named_parameters():
        torch.testing.assert_close(
            weight.grad, sum(card.get_parameter(name).grad for card in cards)
        )


def test_groups_differ_from_the_whole(network: nn.Module) -> None:
    assert not torch.allclose(
        apply_in_groups(copy.deepcopy(network), IMAGES, 5), apply_in_groups(network, IMAGES, None)
    )


def test_a_network_that_is_evaluated_does_not_see_groups(network: nn.Module) -> None:
    network.eval()
    torch.testing.assert_close(apply_in_groups(network, IMAGES, 3), network(IMAGES))


def test_norms_track_again_whatever_happens(network: nn.Module) -> None:
    network.append(nn.BatchNorm1d(5, track_running_stats=False))
    with pytest.raises(RuntimeError), frozen_running_means(network):
        assert not network[1].track_running_stats
        raise RuntimeError
    assert network[1].track_running_stats and not network[5].track_running_stats
