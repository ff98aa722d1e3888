"""What a model costs: counted by hand on a small network, and timed whatever it is."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn

from cion_core.evaluate import cost
from cion_core.finetune.pooling import GeM


def test_parameters_and_flops_by_hand() -> None:
    """A 3x3 convolution from 3 to 4 channels on 8x6 pixels has 48 places of 4 x 27 products.

    Its norm counts 5 for each of the 192 values; the linear layer has 4 x 2 products.
    """
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )
    found = cost.counted(network, (8, 6))
    assert found == {"parameters": (108 + 4) + 8 + (8 + 2), "flops": 48 * 4 * 27 + 5 * 192 + 8}
    assert network.training and all(
        parameter.device.type == "cpu" for parameter in network.parameters()
    )


def test_counting_touches_nothing(one_thread) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    cost.counted(network, (4, 4))
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_a_model_that_pools_by_gem_is_counted() -> None:
    """GeM asks autocast about its device, and that knows no device without memory."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1, bias=False), GeM(), nn.Flatten(), nn.Linear(4, 2, bias=False)
    )
    assert cost.counted(network, (2, 2)) == {"parameters": 12 + 1 + 8, "flops": 4 * 12 + 8}


def test_the_median_time_of_an_image_without_the_first() -> None:
    # The first warms up, the last was disturbed.
    slow = iter([0.2, *[0.004] * (cost.TIMED - 1), 0.1])
    shapes = []

    def embedder(images):
        shapes.append(images[0].shape)
        time.sleep(next(slow))
        return np.zeros((1, 2), np.float32)

    assert 4 <= cost.milliseconds(embedder) < 50
    assert set(shapes) == {(*cost.SIZE, 3)} and len(shapes) == cost.TIMED + 1
