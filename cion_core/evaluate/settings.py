"""The section `evaluate` of params.yaml."""

from __future__ import annotations

from cion_core.config import Section


class Evaluate(Section):
    """How a benchmark is searched.

    Attributes:
        rerank: by k-reciprocal re-ranking.
        flip: by features of an image and of its mirror image, added up.
    """

    rerank: bool
    flip: bool
