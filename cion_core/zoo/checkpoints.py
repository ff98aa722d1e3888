"""Files of weights as flat tables of tensors. No file is ever allowed to run code."""

from __future__ import annotations

import argparse
import datetime
import pickle
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import safetensors
import safetensors.torch
import torch

from cion_core.errors import CionError, refuse_special

State = dict[str, torch.Tensor]
PICKLED = (b"PK\x03\x04", b"\x80")  # how files of torch.save begin, since PyTorch 1.6 and before
# How files begin that are often taken for weights, and what they are.
OTHERS = {
    b"version https://git-lfs": "it is a pointer of Git LFS; `git lfs pull` brings the file itself",
    b"<": "it is a web page; download the file itself",
    b"\x89HDF": "it is HDF5, as Keras writes; PyTorch cannot read it",
    b"\x1f\x8b": "it is packed (gzip); unpack it",
}
PATHS = {
    PurePosixPath: ("PosixPath", "PurePosixPath"),
    PureWindowsPath: ("WindowsPath", "PureWindowsPath"),
}
DAMAGED = "it is damaged, cut off, or of another format"


def harmless() -> list:
    """What a checkpoint may ask for beside tensors and plain values, since it runs nothing.

    A Namespace is the command line in DINO's checkpoints; times, paths and counts lie in those of
    Lightning and others. NumPy's scalars, arrays and dtypes come from scores that are kept beside
    the weights.
    """
    scalar = np._core.multiarray.scalar
    array = np._core.multiarray._reconstruct
    dtypes = [kind for kind in vars(np.dtypes).values() if isinstance(kind, type)]
    # NumPy 1 and 2 call the functions that make arrays by different paths.
    arrays = [
        (function, f"numpy.{core}.multiarray.{function.__name__}")
        for function in (scalar, array)
        for core in ("core", "_core")
    ]
    # A path of another system cannot be made here, but its text can be kept.
    paths = [
        (pure, f"{module}.{name}")
        for pure, names in PATHS.items()
        for name in names
        for module in ("pathlib", "pathlib._local")
    ]
    # torch fills plain mappings and lists alone.
    filled = [(_plain_dict, "collections.defaultdict"), (_plain_list, "collections.deque")]
    plain = [argparse.Namespace, Counter, dict, list, set, int, float, str, *filled]
    times = [datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone]
    return [*plain, *times, *paths, np.ndarray, np.dtype, *dtypes, *arrays]


def _plain_dict(factory: object = None) -> dict:
    """What a defaultdict becomes; its items follow in the file."""
    return {}


def _plain_list(items: Iterable = (), longest: int | None = None) -> list:
    """What a deque becomes; its items follow in the file."""
    return list(items)


def read(file: Path | str) -> dict:
    """The content of a file of weights, tensors on the CPU.

    Args:
        file: safetensors or a file of torch.save, whatever its name.

    Returns:
        Names to tensors, perhaps inside further mappings, perhaps beside other plain values.

    Raises:
        CionError: no such file, not weights, or something in it that could run code; names the
            file.
    """
    file = Path(file)
    refuse_special(file)
    try:
        if _holds_safetensors(file):
            return safetensors.torch.load_file(file)
        # Opened here, since torch goes by the suffix of a name; what it warns of is an error below.
        with (
            open(file, "rb") as opened,
            torch.serialization.safe_globals(harmless()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            value = torch.load(opened, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CionError(f"{file}: no such file") from None
    except OSError as error:
        raise CionError(
            f"{file}: not a readable file ({(error.strerror or str(error)).lower()})"
        ) from None
    except safetensors.SafetensorError:
        raise CionError(f"{file}: not a safetensors file: {_what_it_is(file)}") from None
    except pickle.UnpicklingError as error:
        if not _beginning(file).startswith(PICKLED):
            raise CionError(f"{file}: not a file of weights: {_what_it_is(file)}") from None
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"{named[1]}, which" if named else "something else than tensors, which"
        raise CionError(
            f"{file}: refused: it asks for {what} could run code when it is loaded. "
            "Valid: safetensors, or tensors alone saved by torch.save(model.state_dict(), FILE)"
        ) from None
    except Exception as error:  # torch's unpickler raises whatever a garbled stream leads it to
        program = "it is a TorchScript program; save its state_dict() instead"
        what = program if "TorchScript" in str(error) else _what_it_is(file)
        raise CionError(f"{file}: not a file of weights: {what}") from None
    if not isinstance(value, Mapping):
        raise CionError(
            f"{file}: holds a {type(value).__name__}; valid: a state dict, or a checkpoint with one"
        )
    # No copy of a dict: `flatten` knows by its identity a mapping that lies in itself.
    return value if isinstance(value, dict) else dict(value)


def _beginning(file: Path) -> bytes:
    with open(file, "rb") as opened:
        return opened.read(24)


def _holds_safetensors(file: Path) -> bool:
    """Whether a file is named so, or begins so: a length of eight bytes, then JSON."""
    beginning = _beginning(file)
    begins_so = beginning[8:9] == b"{"
    is_named_so = file.suffix == ".safetensors"
    return begins_so or (is_named_so and not beginning.startswith(PICKLED))


def _what_it_is(file: Path) -> str:
    """In words, what a file is that does not hold weights."""
    beginning = _beginning(file)
    if not beginning:
        return "it is empty"
    for start, words in OTHERS.items():
        if beginning.startswith(start):
            return words
    return DAMAGED


def flatten(value: Mapping) -> tuple[State, dict[str, str]]:
    """Flatten a checkpoint.

    Args:
        value: names to tensors, further mappings, and other values, which are left out.

    A mapping that lies in itself is entered once.

    Returns:
        All tensors under joined keys; and of each such key the mapping that it comes from.

    Example:
        {"model": {"module.a": T}, "epoch": 3}
        -> ({"model.module.a": T}, {"model.module.a": "model."})
    """
    tensors: State = {}
    homes: dict[str, str] = {}
    above: list[int] = []

    def visit(mapping: Mapping, path: str) -> None:
        if id(mapping) in above:
            return
        above.append(id(mapping))
        for key, item in mapping.items():
            if isinstance(item, torch.Tensor):
                joined = f"{path}{key}"
                tensors[joined] = item
                homes[joined] = path
            elif isinstance(item, Mapping):
                visit(item, f"{path}{key}.")
        above.pop()

    visit(value, "")
    return tensors, homes
