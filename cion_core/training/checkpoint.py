"""Resume points of a training run: written atomically, checksummed, the last few kept."""

from __future__ import annotations

import hashlib
import io
import random
from pathlib import Path

import numpy as np
import torch

from cion_core.progress import say
from cion_core.training import ranks
from cion_core.work import atomic

CPU = torch.device("cpu")
DIGEST = 64  # hex digits of SHA-256 that a file starts with; torch.save's bytes follow


class Checkpoints:
    """The checkpoints of one run in `folder` (made if absent); the newest `keep` stay."""

    def __init__(self, folder: Path | str, keep: int = 2) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.keep = keep

    def files(self) -> list[Path]:
        """The checkpoint files, oldest first."""
        return sorted(self.folder.glob("step-*.ckpt"))

    def save(self, step: int, state: dict) -> Path:
        """Write the checkpoint after so many steps.

        Args:
            step: how many are done.
            state: containers of tensors, numbers, strings.

        Returns:
            The file.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        data = buffer.getbuffer()
        path = self._path(step)
        digest = hashlib.sha256(data).hexdigest()
        with atomic(path) as temporary, open(temporary, "wb") as file:
            file.write(digest.encode())
            file.write(data)
        for old in self.files()[: -self.keep]:
            old.unlink()
        return path

    def newest_step(self) -> int | None:
        """After how many steps the newest whole checkpoint was made; None if there is none.

        A torn or damaged one is removed with a warning, so that it never pushes out a good one.
        """
        for path in reversed(self.files()):
            with open(path, "rb") as file:
                expected = file.read(DIGEST)
                found = hashlib.file_digest(file, "sha256").hexdigest().encode()
            if found == expected:
                return int(path.stem.removeprefix("step-"))
            say(f"warning: checkpoint {path} is damaged; going back to the one before")
            path.unlink()
        return None

    def load_newest(self) -> tuple[int, dict] | None:
        """(steps, state) of the newest whole checkpoint, tensors on the CPU; None if none is."""
        if (step := self.newest_step()) is None:
            return None
        path = self._path(step)
        with open(path, "rb") as file:
            file.seek(DIGEST)
            state = torch.load(io.BytesIO(file.read()), map_location="cpu", weights_only=True)
        say(f"resuming after {step} steps, from {path}")
        return step, state

    def load_newest_of_all(self) -> tuple[int, int, dict] | None:
        """The newest checkpoint of any process, for all of them.

        Each machine has its own disk, and torchrun may number the processes anew when it starts
        them again. Then the checkpoints that the first process once wrote lie with another one.

        Returns:
            (number of the process that has it, steps, state); None if there is none.
        """
        steps = ranks.gather_objects(self.newest_step())
        newest = max((step for step in steps if step is not None), default=None)
        if newest is None:
            return None
        owner = steps.index(newest)
        own = self.load_newest() if ranks.rank() == owner else None
        step, state = ranks.broadcast(own, source=owner)
        return owner, step, state

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}.ckpt"


def rng_state(device: torch.device = CPU) -> dict:
    """The state of every global random generator that a network or a library may draw from.

    Args:
        device: where the network is.
    """
    name, keys, position, has_gauss, gauss = np.random.get_state()
    numpy_keys = torch.from_numpy(keys.astype(np.int64))  # checkpoints hold no arrays
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "numpy": [name, numpy_keys, position, has_gauss, gauss],
        "python": random.getstate(),
    }


def restore_rng(state: dict, device: torch.device = CPU) -> None:
    """Put back what `rng_state` returned; warn where the run goes on with other random numbers.

    A CPU has no use for the state of a GPU's generator. A GPU needs one, which a CPU has not
    written.
    """
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)
    elif device.type == "cuda":
        say(
            "warning: the checkpoint was made on a CPU; dropout and drop path go on with other "
            "random numbers here"
        )
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    random.setstate(state["python"])


def restore_rngs(states: list[dict], device: torch.device) -> None:
    """Put back what each process had; with a warning begin anew where their number is another.

    Args:
        states: from `rng_state`, by rank.
        device: where the network is.
    """
    if len(states) == ranks.size():
        restore_rng(states[ranks.rank()], device)
        return
    if ranks.rank() == 0:
        say(
            f"warning: the checkpoint is of {len(states)} processes, now there are "
            f"{ranks.size()}; dropout and drop path go on with other random numbers"
        )
    reseed_by_rank()


def reseed_by_rank() -> None:
    """Give each process another seed, or all would drop the same units."""
    if ranks.rank():
        torch.manual_seed(torch.initial_seed() + ranks.rank())
