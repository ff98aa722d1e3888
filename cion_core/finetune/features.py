"""Features of all training images, for recipes that find their own labels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import nn

from cion_core.finetune.augment import Triple
from cion_core.finetune.images import Images
from cion_core.training import ranks
from cion_core.zoo.images import to_tensor

BATCH = 256  # images at once


@torch.no_grad()
def extract_features(network: nn.Module, images: Images, mean: Triple, std: Triple) -> np.ndarray:
    """Features of all images as the network gives them now, the same in every process.

    Each process embeds a share, in evaluation mode and in the precision of the weights. The first
    process's running means count, for they are what is kept: others have seen other images. The
    network is in training mode afterwards.

    Args:
        network: normalised images float32 [B, 3, H, W] to [B, D].
        images: N of them.
        mean, std: by which they are normalised.

    Returns:
        float32 [N, D].
    """
    # 1. The running means of the first process.
    running = ranks.make_once(lambda: [buffer.cpu() for buffer in network.buffers()])
    for buffer, value in zip(network.buffers(), running, strict=True):
        buffer.copy_(value)

    # 2. The rows of this process's share; the last share wraps around to the first images.
    share = -(-len(images) // ranks.size())
    rows = (ranks.rank() * share + np.arange(share)) % len(images)
    parts = [rows[start : start + BATCH].tolist() for start in range(0, share, BATCH)]

    # 3. Their features. The next part is decoded by threads while the network embeds this one:
    # decoding and resizing let go of the interpreter. A compiled network is called uncompiled, or
    # it would be compiled anew, and for the size of the last part as well.
    device = next(network.parameters()).device
    features = []
    network.eval()
    with torch.compiler.set_stance("force_eager"), ThreadPoolExecutor() as pool:
        reading = [pool.submit(images, row) for row in parts[0]]
        for next_part in [*parts[1:], []]:
            read = [future.result() for future in reading]
            reading = [pool.submit(images, row) for row in next_part]
            batch = to_tensor(read, (images.size, mean, std)).to(device)
            features.append(network(batch))
    network.train()
    of_all = ranks.gather(torch.cat(features))
    return of_all[: len(images)].cpu().numpy()
