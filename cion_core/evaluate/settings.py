"""The section `evaluate` of params.yaml."""

from __future__ import annotations

from cion_core.config import Section


class Evaluate(Section):
    """`rerank`: k-reciprocal re-ranking."""

    rerank: bool
