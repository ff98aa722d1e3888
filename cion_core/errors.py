"""The one error that a user is meant to read, names as any terminal and file can hold them, and
what is no file at all.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

_SURROGATE = re.compile("[\ud800-\udfff]")  # how Python holds the bytes of a name that is not UTF-8


class CionError(Exception):
    """Something the user can put right: the message names the file, key or row, and what would be
    valid.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: object) -> str:
    r"""A text that may hold names that are not UTF-8, as one that can be printed and written.

    Example:
        The byte 0xE9 of an old archive's `caméra.mp4` becomes four characters: `cam\xe9ra.mp4`.
    """
    return _SURROGATE.sub(lambda found: rf"\x{ord(found[0]) & 0xFF:02x}", str(text))


def is_unicode(text: object) -> bool:
    """Whether a name is text that Parquet and JSON can hold, rather than bytes that are not
    UTF-8.
    """
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
