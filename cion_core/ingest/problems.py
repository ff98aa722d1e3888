"""What can be wrong with a video: errors whose message is the reason, without the file's name."""

from __future__ import annotations

# The reason where a video was opened, and nothing came of it.
NO_FRAME = "no frame can be decoded"


class BadVideo(Exception):
    """A video that cannot be used."""


class NoVideo(BadVideo):
    """A file in which the decoder finds no video at all: damaged, or never meant to be one."""
