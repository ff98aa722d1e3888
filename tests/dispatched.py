"""What code asks of its device: each operation by its name, and each wait for a number."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from cion_core.training.readings import Readings

# On a GPU each of these waits until all that was asked for is done.
WAITS = {
    torch.Tensor.item,
    torch.Tensor.tolist,
    torch.Tensor.nonzero,
    torch.nonzero,
    torch.Tensor.__bool__,
    torch.Tensor.__float__,
    torch.Tensor.__int__,
    torch.Tensor.__index__,
    torch.Tensor.cpu,
    torch.Tensor.numpy,
    torch.Tensor.new_tensor,
    torch.bincount,
    torch.Tensor.bincount,
    torch.unique,
    torch.Tensor.unique,
    torch.masked_select,
    torch.tensor,
    torch.as_tensor,
}


# These only look at a tensor otherwise, and start nothing on a device.
LOOKS = {
    "unsqueeze",
    "squeeze",
    "select",
    "split",
    "split_with_sizes",
    "view",
    "_unsafe_view",
    "permute",
    "expand",
    "slice",
    "unbind",
    "detach",
    "t",
    "transpose",
    "alias",
    "as_strided",
    "empty",
    "empty_like",
    "unfold",
}


class Dispatches(TorchDispatchMode):
    """Counts operations while inside; `calls`: how often each was called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.calls[str(function)] += 1
        return function(*args, **kwargs or {})

    @property
    def kernels(self) -> int:
        """How many of the operations do work."""
        return sum(count for name, count in self.calls.items() if name.split(".")[1] not in LOOKS)


class Waits(TorchFunctionMode):
    """Counts what a GPU would be waited for while inside; `calls`: how often each was called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        masks = (
            function is torch.Tensor.__getitem__ and getattr(args[1], "dtype", None) == torch.bool
        )
        if function in WAITS or masks:
            self.calls[function.__name__] += 1
        return function(*args, **kwargs or {})


def read_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a training read its numbers a step late, as on a GPU."""
    begin = Readings.__init__

    def late(self: Readings, device: torch.device) -> None:
        begin(self, device)
        self.delay = 1

    monkeypatch.setattr(Readings, "__init__", late)
