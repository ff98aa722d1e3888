"""Resume points of a training run: written atomically, checksummed, the last few kept."""

from __future__ import annotations

import hashlib
import io
import random
from pathlib import Path

import numpy as np
import torch

from cion_core.progress import say
from cion_core.work import atomic

DIGEST = 64  # hex digits of SHA-256 that a file starts with; torch.save's bytes follow


class Checkpoints:
    """The checkpoints of one run in `folder` (made if absent), newest `keep` of them on disk."""

    def __init__(self, folder: Path | str, keep: int = 2) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.keep = keep

    def files(self) -> list[Path]:
        """The checkpoint files, oldest first."""
        return sorted(self.folder.glob("step-*.ckpt"))

    def save(self, step: int, state: dict) -> Path:
        """Write `state` (containers of tensors, numbers, strings) as the checkpoint after `step` steps."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        data = buffer.getbuffer()
        path = self.folder / f"step-{step:09d}.ckpt"
        with atomic(path) as temporary, open(temporary, "wb") as file:
            file.write(hashlib.sha256(data).hexdigest().encode())
            file.write(data)
        for old in self.files()[: -self.keep]:
            old.unlink()
        return path

    def latest(self) -> tuple[int, dict] | None:
        """(step, state) of the newest checkpoint that is whole, tensors on the CPU; None if there is none.

        A torn or damaged one is passed over with a warning and removed, so that it never pushes out a good one.
        """
        for path in reversed(self.files()):
            with open(path, "rb") as file:
                digest, data = file.read(DIGEST), file.read()
            if hashlib.sha256(data).hexdigest().encode() == digest:
                state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
                step = int(path.stem.removeprefix("step-"))
                say(f"resuming after {step} steps, from {path}")
                return step, state
            say(f"warning: checkpoint {path} is damaged; going back to the one before")
            path.unlink()
        return None


def rng_state() -> dict:
    """The state of every global random generator that a network or a library may draw from."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss],
        "python": random.getstate(),
    }


def restore_rng(state: dict) -> None:
    """Put back what `rng_state` returned; CUDA's only where as many devices are at hand."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    random.setstate(state["python"])
