"""Features of all training images as the network gives them now: recipes cluster them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import nn

from cion_core.finetune.augment import Triple
from cion_core.finetune.images import Images
from cion_core.training import ranks
from cion_core.zoo.images import to_tensor

# Images at once.
BATCH = 256


@torch.no_grad()
def embed_images(network: nn.Module, images: Images, mean: Triple, std: Triple) -> np.ndarray:
    """The features of all images, the same in every process.

    Each process embeds a share, in evaluation mode and in the precision of the weights. The first
    process's running means count, for they are what is kept: others have seen other images. The
    network trains again afterwards.

    Args:
        network: [B, 3, H, W] to [B, D].
        images: N of them.
        mean: by which they are normalised.
        std: likewise.

    Returns:
        float32 [N, D].
    """
    # 1. The share of this process. The last one goes on with the first images, so all are as large.
    share = -(-len(images) // ranks.size())
    rows = (ranks.rank() * share + np.arange(share)) % len(images)
    parts = [rows[start : start + BATCH].tolist() for start in range(0, share, BATCH)]

    # 2. The first process's running means.
    running = ranks.made_by_first(lambda: [buffer.cpu() for buffer in network.buffers()])
    for buffer, value in zip(network.buffers(), running, strict=True):
        buffer.copy_(value)

    # 3. Features; while the network is at one part, threads read the next.
    device, found = next(network.parameters()).device, []
    network.eval()
    # A network that is compiled is not for that: it would be compiled anew, and for the size of the
    # last part as well. Decoding and resizing let go of the interpreter, so threads do it.
    with torch.compiler.set_stance("force_eager"), ThreadPoolExecutor() as pool:
        ahead = [pool.submit(images, row) for row in parts[0]]
        for following in [*parts[1:], []]:
            now = [read.result() for read in ahead]
            ahead = [pool.submit(images, row) for row in following]
            found.append(network(to_tensor(now, (images.size, mean, std)).to(device)))
    network.train()
    return ranks.gather(torch.cat(found))[: len(images)].cpu().numpy()
