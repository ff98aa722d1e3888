"""What a run of pre-training will cost, before it is begun."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cion_core import zoo
from cion_core.errors import CionError
from cion_core.pretrain.methods import METHODS
from cion_core.pretrain.methods.base import Trained
from cion_core.pretrain.settings import Pretrain
from cion_core.runtime import Runtime
from cion_core.training.precision import resolve
from cion_core.training.schedules import layout
from cion_core.zoo.device import pick

GPUS = (24, 80, 141)  # GB of memory of common ones
SAMPLE = 2  # crops of which the activations are measured: the least that batch norm takes


@dataclass(frozen=True)
class Plan:
    """What a run will take.

    Attributes:
        millions: parameters that learn.
        phases: (K, steps) of each.
        images: crops shown.
        gigabytes: of a process, by part.
        share: crops that a process takes at a time.
        lr: (the one that is set, the one that the published rule gives for this batch, that rule in
            words), or None.
    """

    millions: float
    phases: list[tuple[int, int]]
    images: int
    gigabytes: dict[str, float]
    share: float
    lr: tuple[float, float, str] | None

    def text(self, rate: float | None, hours: float) -> str:
        """For a person; `rate` in crops per second over all processes, `hours` that the run may
        take.
        """
        steps = sum(count for _, count in self.phases)
        by = ", ".join(f"{count:,} at K = {instances}" for instances, count in self.phases)
        lines = [
            f"parameters that learn: {self.millions:.2f} M",
            f"steps: {steps:,} ({by}), {self.images:,} crops shown",
            f"memory of a process: at most about {sum(self.gigabytes.values()):.1f} GB ("
            + ", ".join(f"{name} {size:.1f}" for name, size in self.gigabytes.items())
            + ")",
            self._fitting(),
            *self._rule(),
            f"crops a second for {hours:g} hours: {self.images / hours / 3600:,.0f}",
        ]
        return "\n".join(
            lines
            + ([f"at {rate:g} a second: {self.images / rate / 3600:,.1f} hours"] if rate else [])
        )

    def _fitting(self) -> str:
        """Larger batches use a GPU better: how many crops fit.

        What grows with them are activations and the loss.
        """
        fixed = self.gigabytes["weights"] + self.gigabytes["gradients and optimiser"]
        growing = (self.gigabytes["activations"] + self.gigabytes["loss"]) / self.share
        sizes = [f"{max(0.0, 0.9 * of - fixed) / growing:,.0f} in {of} GB" for of in GPUS]
        return f"crops of a process that fit, of {self.share:g} here: about {', '.join(sizes)}"

    def _rule(self) -> list[str]:
        if self.lr is None:
            return []
        own, published, words = self.lr
        return [f"learning rate: {own:g}; the published rule, {words}, gives {published:g}"]


def plan(
    p: Pretrain,
    method: str,
    backbone: str,
    counts: np.ndarray,
    processes: int = 1,
    runtime: Runtime = Runtime(),
) -> Plan:
    """The plan of `method` on identities of `counts` crops, in so many processes; CionError if it
    does not train.

    Weights, their copies and the optimiser are counted; activations are measured on the CPU for
    SAMPLE crops, in float32, and taken for half of that where training here would be in lower
    precision; `checkpointing` is not known to it.
    """
    part = METHODS.named(method)
    if not issubclass(part, Trained):
        raise CionError(f"{method} does not train; there is nothing to plan")
    learner = part(p, zoo.create_model(backbone, p.image), len(counts)).train()
    learning = sum(t.numel() for t in learner.parameters() if t.requires_grad)
    all_of_it = sum(t.numel() for t in (*learner.parameters(), *learner.buffers()))
    optimiser = 2 if isinstance(learner.optimizer(), torch.optim.AdamW) else 1
    share = p.batch / processes / runtime.accumulate
    precision = resolve(runtime.precision, pick(runtime.device))
    activations = _activations(learner) / SAMPLE * share * (1 if precision == "float32" else 0.5)
    phases, steps = layout(learner.phases, p.steps, counts, p.batch)
    starts = [round(fraction * steps) for fraction, _ in phases]
    lengths = [end - start for start, end in zip(starts, [*starts[1:], steps], strict=True)]
    return Plan(
        millions=learning / 1e6,
        phases=[
            (instances, length) for (_, instances), length in zip(phases, lengths, strict=True)
        ],
        images=steps * p.batch,
        share=share,
        lr=_lr(learner, p.batch),
        gigabytes={
            "weights": 4 * all_of_it / 2**30,
            "gradients and optimiser": 4 * learning * (1 + optimiser) / 2**30,
            "activations": activations / 2**30,
            "loss": learner.loss_bytes(share) / 2**30,
        },
    )


def _lr(learner: Trained, batch: int) -> tuple[float, float, str] | None:
    if learner.rule is None or not hasattr(learner.settings, "lr"):
        return None
    base, crops = learner.rule
    return learner.settings.lr, base * batch / crops, f"{base:g} x pretrain.batch / {crops}"


def _activations(learner: Trained) -> int:
    """Bytes that a forward pass of SAMPLE crops keeps for the backward pass; each storage once,
    weights not.
    """
    kept: dict[int, int] = {}
    weights = {t.untyped_storage().data_ptr() for t in (*learner.parameters(), *learner.buffers())}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    views = [torch.zeros(SAMPLE, 3, *recipe.size) for recipe in learner.recipes()]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        learner(views, 1, torch.zeros(SAMPLE, dtype=torch.long))
    return sum(kept.values())
