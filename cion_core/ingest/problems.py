"""What can be wrong with a video: errors whose message is the reason, without the file's name."""

from __future__ import annotations


class BadVideo(Exception):
    """A video that cannot be used."""


class NoVideo(BadVideo):
    """A file in which the decoder finds no video at all: damaged, or never meant to be one."""
