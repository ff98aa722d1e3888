"""The error that a user is meant to read, and what is said of odd names and files."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

_SURROGATE = re.compile("[\ud800-\udfff]")  # how Python holds the bytes of a name that is not UTF-8
# What would steer a terminal or turn the direction of reading; a line's end and a tab may stand.
_STEERING = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class CionError(Exception):
    """Something the user can put right: it names the file, key or row, and what would be valid."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: object) -> str:
    r"""A text that may hold names of any bytes, as one that can be printed and written.

    Example:
        The byte 0xE9 of an old archive's `caméra.mp4` becomes four characters: `cam\xe9ra.mp4`. So
        does the escape character in a name that would colour a terminal: `\x1b[31m.mp4`.
    """
    whole = _SURROGATE.sub(lambda found: rf"\x{ord(found[0]) & 0xFF:02x}", str(text))
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], whole)


def is_unicode(text: object) -> bool:
    """Whether Parquet and JSON can hold a name, since it is not of bytes that are not UTF-8."""
    return _SURROGATE.search(str(text)) is None


def refuse_special(path: Path | str) -> None:
    """Refuse a pipe, a socket or a device, which reading may wait for, or never come to an end.

    Raises:
        CionError: it is one. What is not there, or cannot be looked at, is for its reader to name.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise CionError(f"{path}: not a regular file, but a pipe, a socket or a device")
