"""The training loop: any method, on the CPU or one GPU, resumable at any step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict

import torch

from cion_core.errors import CionError
from cion_core.pretrain.batches import Batches
from cion_core.pretrain.checkpoint import Checkpoints, restore_rng, rng_state
from cion_core.pretrain.methods import Method

COLUMNS = ("step", "loss", "lr", "weight_decay", "momentum")  # of every row of history; methods add their own


def train(
    method: Method,
    batches: Batches,
    steps: int,
    device: torch.device,
    checkpoints: Checkpoints,
    every: int,
    workers: int = 0,
) -> Iterator[dict[str, float]]:
    """Train `method` in place, yielding one row of history per step; goes on from the newest checkpoint.

    Rows of steps already done are yielded again first. A checkpoint follows every `every` steps and the last one.

    Raises:
        CionError: the loss or a gradient is no longer finite; the checkpoints stay as they are.
    """
    method.to(device).train()
    optimizer = method.optimizer()
    start, history = 0, []
    if (newest := checkpoints.latest()) is not None:
        start, state = newest
        method.load_state_dict(state["method"])
        optimizer.load_state_dict(state["optimizer"])
        restore_rng(state["rng"])  # dropout, drop path and shuffles draw from torch's global generator
        history = state["history"]
        yield from history

    for step, (views, instances) in enumerate(batches.load(range(start, steps), workers), start):
        rates = method.rates(step, steps)
        for group in optimizer.param_groups:
            group["lr"] = rates.lr
            group["weight_decay"] = rates.weight_decay if group["decays"] else 0.0

        loss, watched = method([view.to(device, non_blocking=True) for view in views], instances)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for parameter in method.frozen(step, steps):
            parameter.grad = None
        largest = _clip(optimizer, method.clip)
        if not math.isfinite(loss.item()) or not math.isfinite(largest):
            raise CionError(_broken(method, step, loss.item(), largest, checkpoints))
        optimizer.step()
        method.after(rates)

        row = {"step": step, "loss": loss.item(), **asdict(rates), **{k: v.item() for k, v in watched.items()}}
        history.append(row)
        if (step + 1) % every == 0 or step + 1 == steps:
            state = {"method": method.state_dict(), "optimizer": optimizer.state_dict()}
            checkpoints.save(step + 1, {**state, "rng": rng_state(), "history": history})
        yield row


def _clip(optimizer: torch.optim.Optimizer, bound: float) -> float:
    """Scale each parameter's own gradient down to norm `bound` (0: leave it); the largest norm before that.

    NaN or infinite if any gradient is.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norms = [torch.nn.utils.clip_grad_norm_(p, bound or math.inf) for p in parameters]
    return torch.stack(norms).max().item()  # max keeps NaN


def _broken(method: Method, step: int, loss: float, norm: float, checkpoints: Checkpoints) -> str:
    files = checkpoints.files()
    kept = f"the last good checkpoint is kept: {files[-1]}" if files else "there was no checkpoint yet"
    return (
        f"{method.name} at step {step}: loss {loss}, largest gradient norm {norm}; "
        f"lower pretrain.{method.name}.lr (now {method.settings.lr}) or lengthen pretrain.warmup; {kept}"
    )
