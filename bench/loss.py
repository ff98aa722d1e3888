"""The loss, four ways in one process.

python bench/loss.py
python bench/loss.py --crops 120 --instances 8      the published batch

literal: the published double loop over instances, with the log-softmax inside it, for every pair of
views. plain: the algebraic form (cion_core/pretrain/losses.py) left to autograd. ours: its gradient
made in the forward pass. fused: the last layer with it, whose logits are never held; beside it the
last layer before `plain` and `literal`, which is how those come by their logits. Each is run
forward and backward; the forms take turns, and medians are printed, with the largest memory above
what was there before, less the gradients that are the result.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pandas as pd
import torch
from published_loss import literal
from torch import Tensor
from torch.nn import functional as F

from cion_core.pretrain import fused
from cion_core.pretrain.losses import IdentityGuidedLoss


def plain(student: Tensor, teacher: Tensor, loss: IdentityGuidedLoss, instances: int) -> Tensor:
    """One pass, left to autograd."""
    crops = len(teacher) // 2
    first, second = loss._targets(teacher, instances).chunk(2)
    s = (student / loss.student_temp).unflatten(0, (loss.views, crops))
    total = s[:2].logsumexp(-1).sum() - (s[0] * second).sum() - (s[1] * first).sum()
    total = total + 2 * s[2:].logsumexp(-1).sum() - (s[2:] * (first + second)).sum()
    return total / (crops * 2 * (loss.views - 1))


def seconds(work: Callable[[], int], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def megabytes(work: Callable[[], int], device: torch.device) -> float:
    """The most that `work` holds beyond what was there before and the bytes that it returns."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result = work()
        return (torch.cuda.max_memory_allocated() - before - result) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    before = status("VmRSS")
    result = work()
    return (status("VmHWM") - before) / 1024 - result / 2**20


def status(name: str) -> int:
    """A line of /proc/self/status, KB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in {
        "crops": 32,
        "instances": 8,
        "views": 10,
        "dim": 65_536,
        "bottleneck": 256,
        "repeat": 5,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--memory", metavar="FORM", help="print the megabytes of one form alone")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    o = parser.parse_args()
    device = torch.device(o.device)
    torch.manual_seed(0)
    loss = IdentityGuidedLoss(o.dim, o.views).to(device).eval()
    student = F.normalize(
        torch.randn(o.views * o.crops, o.bottleneck, device=device)
    ).requires_grad_()
    teacher = F.normalize(torch.randn(2 * o.crops, o.bottleneck, device=device))
    prototypes = torch.randn(o.dim, o.bottleneck, device=device).requires_grad_()
    given = fused.cosines(teacher, prototypes).detach()

    def gradient_of_logits(form: Callable[..., Tensor]) -> Callable[[], int]:
        logits = fused.cosines(student, prototypes).detach().requires_grad_()

        def work() -> int:
            (gradient,) = torch.autograd.grad(form(logits, given), logits)
            return gradient.nbytes

        return work

    def gradient_of_heads(form: Callable[[], Tensor]) -> Callable[[], int]:
        return lambda: sum(g.nbytes for g in torch.autograd.grad(form(), (student, prototypes)))

    def layered(form: Callable[..., Tensor]) -> Callable[[], Tensor]:
        return lambda: form(
            fused.cosines(student, prototypes),
            fused.cosines(teacher, prototypes.detach()),
            loss,
            o.instances,
        )

    forms = {
        "literal": gradient_of_logits(lambda s, t: literal(s, t, loss, o.instances)),
        "plain": gradient_of_logits(lambda s, t: plain(s, t, loss, o.instances)),
        "ours": gradient_of_logits(lambda s, t: loss(s, t, o.instances)),
        "last layer, literal": gradient_of_heads(layered(literal)),
        "last layer, plain": gradient_of_heads(layered(plain)),
        "last layer fused": gradient_of_heads(
            lambda: loss.loss_from_heads(
                student, prototypes, teacher, prototypes.detach(), o.instances
            )
        ),
    }
    if o.memory:
        print(megabytes(forms[o.memory], device))
        return
    forms["ours"]()  # the first call of all pays for threads and memory
    taken: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(o.repeat):
        for name, work in forms.items():
            if turn == 0 or "literal" not in name:  # which takes long enough to be timed once
                taken[name].append(seconds(work, device))
    table = pd.DataFrame({"seconds": {name: median(times) for name, times in taken.items()}})
    table["MB"] = [alone(name) for name in forms]
    table["times as fast"] = [
        table.seconds["literal" if " " not in n else "last layer, literal"] for n in forms
    ]
    table["times as fast"] /= table.seconds
    name = (
        torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads"
    )
    print(f"{name}; B = {o.crops}, K = {o.instances}, V = {o.views}, D = {o.dim}, float32")
    print(table.round({"seconds": 3, "MB": 0, "times as fast": 1}).to_string())


def alone(form: str) -> float:
    """`megabytes` of a form in a process of its own.

    What another form has freed would count as there before.
    """
    command = [sys.executable, *sys.argv, "--memory", form]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
