"""Supervised training of a backbone: label-smoothed cross-entropy behind a BNNeck, and batch-hard triplets.

The recipe is Luo et al. 2019 ("Bag of tricks"): triplets see the feature, the classifier sees it batch-normed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cion_core import params
from cion_core.errors import CionError
from cion_core.finetune.augment import augment
from cion_core.finetune.losses import batch_hard_triplet
from cion_core.finetune.sampler import PeopleSampler
from cion_core.training.checkpoint import Checkpoints, restore_rng, rng_state

WARMUP = 0.1  # of the steps


class Neck(nn.Module):
    """Batch norm without shift, then a linear classifier: float [B, D] to logits [B, classes]."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim)
        self.norm.bias.requires_grad_(False)
        self.classifier = nn.Linear(dim, classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, features: Tensor) -> Tensor:
        return self.classifier(self.norm(features))


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over the first tenth of the run, then a cosine to zero."""
    warm = max(1, round(WARMUP * steps))
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def train(
    model: nn.Module,
    read: Callable[[int], np.ndarray],
    to_tensor: Callable[[list[np.ndarray]], Tensor],
    labels: np.ndarray,
    p: params.Finetune,
    device: torch.device,
    checkpoints: Checkpoints,
) -> Iterator[dict[str, float]]:
    """Train `model` in place, yielding one row of history per step; goes on from the newest checkpoint.

    Args:
        model: backbone, [B, 3, H, W] to [B, model.num_features].
        read: row to RGB uint8 [H, W, 3], already at the training size.
        to_tensor: list of such images to normalised float32 [B, 3, H, W].
        labels: int [N], class of each row, 0 to C - 1.
        checkpoints: holds work in progress; rows of steps already done are yielded again first.

    Raises:
        CionError: the loss is no longer finite.
    """
    torch.manual_seed(p.seed)
    neck = Neck(model.num_features, int(labels.max()) + 1)
    model.to(device).train()
    neck.to(device).train()
    trained = [w for part in (model, neck) for w in part.parameters() if w.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=p.lr, weight_decay=p.weight_decay)
    parts = {"model": model, "neck": neck, "optimizer": optimizer}

    start, history = 0, []
    if (newest := checkpoints.latest()) is not None:
        start, state = newest
        for name, part in parts.items():
            part.load_state_dict(state[name])
        restore_rng(state["rng"])  # dropout and drop path draw from torch's global generator
        history = state["history"]
        yield from history

    sampler = PeopleSampler(labels, p.identities, p.instances, p.seed)
    for step in range(start, p.steps):
        rows = sampler.batch(step)
        images = [augment(read(row), np.random.default_rng([p.seed, 2, step, i])) for i, row in enumerate(rows)]
        target = torch.from_numpy(labels[rows]).to(device)
        rate = learning_rate(step, p.steps, p.lr)
        for group in optimizer.param_groups:
            group["lr"] = rate

        features = model(to_tensor(images).to(device))
        logits = neck(features)
        identity = cross_entropy(logits, target, label_smoothing=p.smoothing)
        triplet = batch_hard_triplet(features, target, p.margin)
        loss = identity + triplet
        if not torch.isfinite(loss):
            raise CionError(
                f"the loss is {loss.item()} at step {step}; lower finetune.lr (now {p.lr}). "
                f"The last good checkpoint stays in {checkpoints.folder}"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

        right = (logits.argmax(1) == target).float().mean()
        row = {
            "step": step, "loss": loss.item(), "lr": rate, "identity_loss": identity.item(),
            "triplet_loss": triplet.item(), "accuracy": right.item(),
        }  # fmt: skip
        history.append(row)
        if (step + 1) % p.checkpoint_every == 0 and step + 1 < p.steps:
            state = {name: part.state_dict() for name, part in parts.items()}
            checkpoints.save(step + 1, {**state, "rng": rng_state(), "history": history})
        yield row
