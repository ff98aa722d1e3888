"""Files of weights as flat tables of tensors. No file is ever allowed to run code."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch

from cion_core.errors import CionError

State = dict[str, torch.Tensor]


def harmless() -> list:
    """What a checkpoint may ask for beside tensors and plain values, since it runs nothing.

    A Namespace is the command line in DINO's checkpoints. NumPy's scalars, arrays and dtypes come from scores that
    are kept beside the weights; NumPy 1 and 2 call the functions that make them by different paths.
    """
    scalar, array = np._core.multiarray.scalar, np._core.multiarray._reconstruct
    dtypes = [kind for kind in vars(np.dtypes).values() if isinstance(kind, type)]
    paths = [
        (function, f"numpy.{core}.multiarray.{function.__name__}")
        for function in (scalar, array)
        for core in ("core", "_core")
    ]
    return [argparse.Namespace, np.ndarray, np.dtype, *dtypes, *paths]


def read(file: Path | str) -> dict:
    """The content of a file of weights, tensors on the CPU.

    Args:
        file: safetensors by its suffix, else a file of torch.save.

    Returns:
        Names to tensors, perhaps inside further mappings, perhaps beside other plain values.

    Raises:
        CionError: no such file, not weights, or something in it that could run code; names the file.
    """
    file = Path(file)
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        with torch.serialization.safe_globals(harmless()):
            value = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CionError(f"{file}: no such file") from None
    except OSError as error:
        raise CionError(f"{file}: not a readable file ({(error.strerror or str(error)).lower()})") from None
    except safetensors.SafetensorError as error:
        raise CionError(f"{file}: not a safetensors file ({error})") from None
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"{named[1]}, which" if named else "something else than tensors, which"
        raise CionError(
            f"{file}: refused: it asks for {what} could run code when it is loaded. "
            "Valid: safetensors, or tensors alone saved by torch.save(model.state_dict(), FILE)"
        ) from None
    except Exception as error:  # torch's unpickler raises whatever a garbled stream leads it to
        raise CionError(f"{file}: not a file of weights ({(str(error) or 'empty').splitlines()[0]})") from None
    if not isinstance(value, Mapping):
        raise CionError(f"{file}: holds a {type(value).__name__}; valid: a state dict, or a checkpoint with one")
    return dict(value)


def flattened(value: Mapping) -> tuple[State, dict[str, str]]:
    """All tensors of a checkpoint under joined keys, and which mapping each comes from.

    Example:
        {"model": {"module.a": T}, "epoch": 3} -> ({"model.module.a": T}, {"model.module.a": "model."})
    """
    tensors: State = {}
    homes: dict[str, str] = {}

    def visit(mapping: Mapping, path: str) -> None:
        for key, item in mapping.items():
            if isinstance(item, torch.Tensor):
                tensors[f"{path}{key}"] = item
                homes[f"{path}{key}"] = path
            elif isinstance(item, Mapping):
                visit(item, f"{path}{key}.")

    visit(value, "")
    return tensors, homes
