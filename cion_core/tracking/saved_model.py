"""A torch module as an MLflow model on disk."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from mlflow.models import infer_signature

from cion_core.progress import say


def save_model(model: torch.nn.Module, example: np.ndarray, card: Mapping, folder: Path) -> None:
    """Write an MLflow model that loads without this package and takes any size of batch.

    A model that torch.export does not understand is pickled instead.

    Args:
        model: in eval mode, on the CPU; [B, 3, H, W] float32 to [B, D].
        example: float32 [B, 3, H, W]; the first image is used.
        card: what the model's metadata say; anything that JSON can hold.
        folder: to write; what lies there is replaced.
    """
    # compat must come before mlflow.pytorch, which imports torchvision.
    from cion_core import compat  # noqa: F401, I001
    import mlflow.pytorch

    # A batch of one would be exported as the constant 1.
    batch = np.repeat(np.float32(example[:1]), 2, axis=0)
    with torch.inference_mode():
        features = model(torch.from_numpy(batch)).numpy()
    # Without a list MLflow finds the requirements out, which takes long.
    torch_version = torch.__version__.partition("+")[0]
    requirements = [f"torch=={torch_version}", "numpy"]

    def save(serialization: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        # MLflow and torch.export warn of their own insides.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mlflow.pytorch.save_model(
                model,
                str(folder),
                signature=infer_signature(batch, features),
                input_example=batch,
                metadata=dict(card),
                serialization_format=serialization,
                pip_requirements=requirements,
            )

    try:
        save("pt2")
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        reason = type(error).__name__
        say(f"torch.export does not take this model ({reason}); MLflow gets it pickled")
        save("pickle")
