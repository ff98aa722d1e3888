"""The section `ingest` of params.yaml."""

from __future__ import annotations

from cion_core.config import Section


class Ingest(Section):
    """`source`: a folder of clips, or one with a world.yaml, which is rendered."""

    source: str
