"""What a model costs: parameters and FLOPs, which are counted, and latency, which is timed."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

NORM = 5  # operations per value that a norm layer is counted for, in the published numbers
TIMED = 15  # images, one after another
SIZE = (256, 128)  # height, width of the image that is timed


def counted(network: nn.Module, image: tuple[int, int]) -> dict[str, int]:
    """Count what a network costs.

    Counted are convolutions, linear layers and attention by torch's FlopCounterMode, and NORM for
    each value that a norm layer puts out, as ReIDZoo's published numbers are. A copy embeds one
    grey image on the CPU, or on the device `meta` if it has no weights; the network itself is not
    touched.

    Args:
        network: what embeds images.
        image: height and width of one.

    Returns:
        `parameters`, and `flops`: multiply-adds for one image.
    """
    device = "meta" if next(network.parameters()).is_meta else "cpu"
    network = copy.deepcopy(network).to(device, torch.float32).eval()
    grey = torch.zeros(1, 3, *image, device=device)
    # Attention as products of matrices: not every fused kernel is counted.
    plain = sdpa_kernel(SDPBackend.MATH)
    with torch.no_grad(), plain, FlopCounterMode(display=False) as products, Norms() as norms:
        network(grey)
    # Torch counts two operations for a multiply-add.
    flops = products.get_total_flops() // 2 + NORM * norms.values
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "flops": flops,
    }


class Norms(TorchDispatchMode):
    """Counts the values that norm layers put out; FlopCounterMode has none of them."""

    values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (
            torch.ops.aten.native_batch_norm.default,
            torch.ops.aten.native_layer_norm.default,
        ):
            self.values += args[0].numel()
        return func(*args, **(kwargs or {}))


def milliseconds(embedder: Callable[[Sequence[np.ndarray]], np.ndarray]) -> float:
    """The median time from one image of SIZE, in memory, to its feature.

    The first of TIMED + 1 images is not counted.
    """
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    times = []
    for _ in range(TIMED + 1):
        start = time.perf_counter()
        embedder([image])
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[1:])
