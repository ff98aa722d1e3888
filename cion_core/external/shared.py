"""What formats share: the files of a folder, why one is unreadable, and tracklets' numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import folders
from cion_core.errors import CionError

SHOWN = 5  # lines or names that an error tells
# How files begin that are no UTF-8 text, and what to do with them.
NO_TEXT = {
    b"\x1f\x8b": "it is packed (gzip); unpack it",
    b"PK\x03\x04": "it is packed (zip, or a spreadsheet); unpack it, or save it as text",
    b"\xff\xfe": "it is UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "it is UTF-16 text; save it as UTF-8",
}


def files(folder: Path | str) -> list[str]:
    """List the files of a folder at any depth.

    Args:
        folder: where to look. What begins with a dot is skipped.

    Returns:
        Names relative to `folder`, with "/", sorted.

    Raises:
        CionError: there is no such folder.
    """
    if not Path(folder).is_dir():
        raise CionError(f"{folder}: no such file or folder")
    return sorted(path.relative_to(folder).as_posix() for path in folders.files(folder))


def why_no_text(path: Path | str) -> str:
    """Say what a file is that could not be read as UTF-8 text, and what to do.

    Args:
        path: the file.

    Returns:
        The words for an error.
    """
    with open(path, "rb") as file:
        beginning = file.read(4)
    for known_beginning, reason in NO_TEXT.items():
        if beginning.startswith(known_beginning):
            return reason
    return "it is not UTF-8 text; save it as UTF-8"


def unreadable(path: Path | str, error: OSError) -> CionError:
    """Make the error for a file that cannot be opened or read.

    Args:
        path: the file.
        error: what the system says.

    Returns:
        The error, to be raised.
    """
    reason = error.strerror or str(error)
    return CionError(f"{path}: cannot be read: {reason.lower()}")


def number_tracklets(video: Sequence, tracklet: Sequence) -> np.ndarray:
    """Number tracklets over all videos, from 1, in order of first appearance.

    From 1 because an identity is named after one of its tracklets, and MOT's ids begin at 1.

    Args:
        video: the video of each row.
        tracklet: what the tracklet of each row is called inside its video.

    Returns:
        int64 [N].
    """
    pairs = pd.MultiIndex.from_arrays([video, tracklet])
    from_zero, _ = pd.factorize(pairs)
    return from_zero.astype(np.int64) + 1
