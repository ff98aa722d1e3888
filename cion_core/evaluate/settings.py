"""The section `evaluate` of params.yaml."""

from __future__ import annotations

from cion_core.config import Section


class Evaluate(Section):
    """`rerank`: k-reciprocal re-ranking; `flip`: features are those of an image and of its mirror
    image, added up.
    """

    rerank: bool
    flip: bool
