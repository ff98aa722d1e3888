"""The section `ingest` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from cion_core.config import Section

# Frames a second, as of a frame a day and of the fastest cameras; `sequence` asks for the same.
Rate = Annotated[float, Field(ge=1e-5, le=1000)]


class Ingest(Section):
    """Where videos come from; see params.yaml for what each key means.

    `source` is a folder of clips, or one with a world.yaml, which is rendered.
    """

    model_config = ConfigDict(populate_by_name=True)

    source: str
    sequence_fps: Rate | None = None
    import_: bool = Field(default=False, alias="import")

    @classmethod
    def keys(cls) -> list[str]:
        """The keys that it knows, for messages."""
        return [field.alias or name for name, field in cls.model_fields.items()]
