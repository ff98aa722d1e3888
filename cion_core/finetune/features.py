"""Features of all training images as the network gives them now, for recipes that find their own
labels.
"""

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
def features(network: nn.Module, images: Images, mean: Triple, std: Triple) -> np.ndarray:
    """float32 [N, D] of all images, normalised by mean and std, the same in every process; the
    network trains again afterwards.

    Each process embeds a share, in evaluation mode and in the precision of the weights. The first
    process's running means count, for they are what is kept: others have seen other images.
    """
    share = -(-len(images) // ranks.size())
    rows = (ranks.rank() * share + np.arange(share)) % len(
        images
    )  # the last share goes on with the first images
    running = ranks.first(lambda: [buffer.cpu() for buffer in network.buffers()])
    for buffer, value in zip(network.buffers(), running, strict=True):
        buffer.copy_(value)
    device, found = next(network.parameters()).device, []
    parts = [rows[start : start + BATCH].tolist() for start in range(0, share, BATCH)]
    network.eval()
    # A network that is compiled is not for that: it would be compiled anew, and for the size of the
    # last part as well. Decoding and resizing let go of the interpreter, so threads do it.
    with torch.compiler.set_stance("force_eager"), ThreadPoolExecutor() as pool:
        ahead = [pool.submit(images, row) for row in parts[0]]
        for following in [*parts[1:], []]:
            now, ahead = (
                [read.result() for read in ahead],
                [pool.submit(images, row) for row in following],
            )
            found.append(network(to_tensor(now, (images.size, mean, std)).to(device)))
    network.train()
    return ranks.gather(torch.cat(found))[: len(images)].cpu().numpy()
