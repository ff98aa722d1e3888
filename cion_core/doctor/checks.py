"""All checks, one after another.

Each looks at one thing by itself: what is broken is a finding, and the others are still made.
Nothing is downloaded or started, and a server gets two seconds to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cion_core.doctor.findings import Finding, first_line
from cion_core.doctor.machine import disk, extras, faiss, images, python, torch, video
from cion_core.doctor.pipeline import dvc, settings
from cion_core.doctor.services import mlflow, prefect

CHECKS: dict[str, Callable[[str], Finding]] = {
    "python": python,
    "torch": torch,
    "faiss": faiss,
    "video": video,
    "images": images,
    "extras": extras,
    "mlflow": mlflow,
    "prefect": prefect,
    "disk": disk,
    "params": settings,
    "dvc": dvc,
}


def examine() -> Iterator[Finding]:
    """All findings, in order, each as soon as it is made."""
    for about, check in CHECKS.items():
        try:
            yield check(about)
        # a broken installation raises anything, and the other checks must still be made
        except Exception as error:
            text = f"does not work: {first_line(error)}"
            yield Finding(about, text, "run `make setup`, or install it again")
