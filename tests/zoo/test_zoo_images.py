"""Images as a model's input: normalised, without waiting for a GPU in each batch."""

import numpy as np
import torch
from dispatched import Waits

from cion_core.zoo.images import normalise, to_tensor

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.31)


def test_values_are_those_of_the_definition():
    image = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)
    made = to_tensor([image], ((6, 4), MEAN, STD))
    wanted = ((image / 255 - MEAN) / STD).transpose(2, 0, 1)
    np.testing.assert_allclose(made[0].numpy(), wanted, rtol=1e-5, atol=1e-5)


def test_only_the_first_batch_brings_numbers_to_the_device():
    batch = torch.zeros(2, 6, 4, 3, dtype=torch.uint8)
    with torch.inference_mode():
        normalise(batch, MEAN, STD)  # as an embedder asks
    with Waits() as seen:
        made = normalise(batch, MEAN, STD)
    assert not seen.calls
    weight = torch.ones(1, requires_grad=True)
    (made * weight).sum().backward()  # and a training may go by the same
    assert weight.grad.isfinite()
