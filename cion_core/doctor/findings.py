"""What a check finds, and what checks share."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        about: what was looked at.
        text: what is there.
        remedy: what is wrong with it, and what to do; None where nothing is.
    """

    about: str
    text: str
    remedy: str | None = None

    def __str__(self) -> str:
        if self.remedy is None:
            return f"   {self.about:<8} {self.text}"
        return f"!  {self.about:<8} {self.text}\n            -> {self.remedy}"


def version(package: str) -> str | None:
    """The version of a package; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def first_line(error: object) -> str:
    """The first line of what an error says, or the name of its class."""
    return (str(error) or type(error).__name__).strip().partition("\n")[0]
