"""The two stages of a run of fine-tuning, here or in processes, and what they leave."""

from functools import partial

import signalled
import torch

from cion_core.finetune import stage, start

BACKBONE = "resnet10_ibn"
PLAIN = "test_convnext"  # no batch norm, which sees only a process's own share
MODEL = f"finetune/tuned/cion-{BACKBONE}"
in_processes = partial(signalled.start, "finetune")
result = partial(signalled.result, method="cion", room="finetune/tuned")


def train(p, backbone, runtime, data):
    """The two stages of the run `tuned`, one after the other."""
    start.run(p, "tuned", data)
    stage.run(p, "tuned", "cion", backbone, runtime, data)


def same(one, other):
    """Whether two results are equal: weights in every bit, and histories."""
    return one[1] == other[1] and one[0].keys() == other[0].keys() and all(
        torch.equal(one[0][key], other[0][key]) for key in one[0]
    )  # fmt: skip
