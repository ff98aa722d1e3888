"""What the ingest room's tests share."""

from films import film, ingested  # noqa: F401
