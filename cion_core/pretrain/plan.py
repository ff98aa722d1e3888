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
from cion_core.training.schedules import lay_out
from cion_core.zoo.device import pick

GPUS = (24, 80, 141)  # GB of memory of common ones
USABLE = 0.9  # the share of a GPU's memory that a run may fill
SAMPLE = 2  # crops of which the activations are measured: the least that batch norm takes


@dataclass(frozen=True)
class Plan:
    """What a run will take.

    Attributes:
        millions: parameters that learn.
        steps_by_k: (K, steps) of each phase.
        crops_shown: over all steps, counted each time that they are shown.
        gigabytes: of a process, by part.
        share: crops that a process takes at a time.
        lr: the learning rate that is set, the one that the published rule gives for this batch, and
            that rule in words; None where there is no rule.
    """

    millions: float
    steps_by_k: list[tuple[int, int]]
    crops_shown: int
    gigabytes: dict[str, float]
    share: float
    lr: tuple[float, float, str] | None

    def text(self, rate: float | None, hours: float) -> str:
        """The plan for a person to read.

        Args:
            rate: crops per second over all processes; None: not known.
            hours: that the run may take.
        """
        steps = sum(count for _, count in self.steps_by_k)
        by_phase = ", ".join(
            f"{count:,} at K = {instances}" for instances, count in self.steps_by_k
        )
        total = sum(self.gigabytes.values())
        by_part = ", ".join(f"{name} {size:.1f}" for name, size in self.gigabytes.items())
        lines = [
            f"parameters that learn: {self.millions:.2f} M",
            f"steps: {steps:,} ({by_phase}), {self.crops_shown:,} crops shown",
            f"memory of a process: at most about {total:.1f} GB ({by_part})",
            self._fitting_crops(),
            *self._published_lr(),
            f"crops a second for {hours:g} hours: {self.crops_shown / hours / 3600:,.0f}",
        ]
        if rate:
            lines.append(f"at {rate:g} a second: {self.crops_shown / rate / 3600:,.1f} hours")
        return "\n".join(lines)

    def _fitting_crops(self) -> str:
        """Larger batches use a GPU better: how many crops fit.

        What grows with them are activations and the loss.
        """
        fixed = self.gigabytes["weights"] + self.gigabytes["gradients and optimiser"]
        growing = (self.gigabytes["activations"] + self.gigabytes["loss"]) / self.share
        sizes = []
        for memory in GPUS:
            free = max(0.0, USABLE * memory - fixed)
            sizes.append(f"{free / growing:,.0f} in {memory} GB")
        return f"crops of a process that fit, of {self.share:g} here: about {', '.join(sizes)}"

    def _published_lr(self) -> list[str]:
        if self.lr is None:
            return []
        own, published, rule = self.lr
        return [f"learning rate: {own:g}; the published rule, {rule}, gives {published:g}"]


def plan(
    p: Pretrain,
    method: str,
    backbone: str,
    counts: np.ndarray,
    processes: int = 1,
    runtime: Runtime = Runtime(),
) -> Plan:
    """What a run of a method would cost.

    Weights, their copies and the optimiser are counted. Activations are measured on the CPU for
    SAMPLE crops, in float32, and taken for half of that where training here would be in lower
    precision. `runtime.checkpointing` is left out of account.

    Args:
        p: the section `pretrain` of params.yaml.
        method: by name.
        backbone: by name.
        counts: int [I], crops of each identity.
        processes: that train together.
        runtime: of this machine.

    Raises:
        CionError: the method does not train.
    """
    method_class = METHODS.named(method)
    if not issubclass(method_class, Trained):
        raise CionError(f"{method} does not train; there is nothing to plan")
    learner = method_class(p, zoo.create_model(backbone, p.image), len(counts)).train()

    # Numbers that are held: of parameters that learn, of everything, of the optimiser for each.
    learning = sum(t.numel() for t in learner.parameters() if t.requires_grad)
    everything = sum(t.numel() for t in (*learner.parameters(), *learner.buffers()))
    moments = 2 if isinstance(learner.optimizer(), torch.optim.AdamW) else 1

    # Bytes of activations of the crops that a process takes at a time.
    share = p.batch / processes / runtime.accumulate
    precision = resolve(runtime.precision, pick(runtime.device))
    activations = _activations(learner) / SAMPLE * share
    if precision != "float32":
        activations *= 0.5

    # Steps of each phase.
    phases, steps = lay_out(learner.phases, p.steps, counts, p.batch)
    starts = [round(fraction * steps) for fraction, _ in phases]
    ends = [*starts[1:], steps]
    lengths = [end - start for start, end in zip(starts, ends, strict=True)]
    steps_by_k = [(k, length) for (_, k), length in zip(phases, lengths, strict=True)]

    held = {
        "weights": 4 * everything,
        "gradients and optimiser": 4 * learning * (1 + moments),
        "activations": activations,
        "loss": learner.loss_bytes(share),
    }
    return Plan(
        millions=learning / 1e6,
        steps_by_k=steps_by_k,
        crops_shown=steps * p.batch,
        share=share,
        lr=_find_published_lr(learner, p.batch),
        gigabytes={name: size / 2**30 for name, size in held.items()},
    )


def _find_published_lr(learner: Trained, batch: int) -> tuple[float, float, str] | None:
    """`Plan.lr` of a learner."""
    if learner.published_lr is None or not hasattr(learner.settings, "lr"):
        return None
    base, crops = learner.published_lr
    published = base * batch / crops
    return learner.settings.lr, published, f"{base:g} x pretrain.batch / {crops}"


def _activations(learner: Trained) -> int:
    """Bytes that a forward pass of SAMPLE crops keeps for the backward pass.

    Each storage counts once, those of weights not at all.
    """
    kept: dict[int, int] = {}
    weights = {t.untyped_storage().data_ptr() for t in (*learner.parameters(), *learner.buffers())}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    views = [torch.zeros(SAMPLE, 3, *kind.size) for kind in learner.view_kinds()]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        learner(views, 1, torch.zeros(SAMPLE, dtype=torch.long))
    return sum(kept.values())
