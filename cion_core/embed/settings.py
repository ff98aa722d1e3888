"""The section `embed` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cion_core.config import Section


class Embed(Section):
    """How crops are embedded.

    Attributes:
        model: a folder below models/, whose card says which embedder reads it.
        balance: whether colours are balanced first.
    """

    model: Annotated[str, Field(pattern=r"^[^/\\]+$")]
    balance: bool
