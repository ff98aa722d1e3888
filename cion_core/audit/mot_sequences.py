"""Sequences of the MOT challenge with their truth: where they lie, and who is in which box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from trackers import load_mot_file

from cion_core import progress, rendered, work
from cion_core.errors import CionError
from cion_core.ingest import sequence

TRUTH = Path("gt", "gt.txt")
PEDESTRIAN = 1  # the class of MOT's truth that counts
BOX = ["x1", "y1", "x2", "y2"]


@dataclass(frozen=True)
class Footage:
    """A sequence with truth.

    Attributes:
        name: its path below the folder that was given.
        folder: where it lies.
        truth: its true boxes, as the trackers package reads them, by MOT's number of the frame,
            which counts from 1. Elsewhere in this room frames count from 0.
    """

    name: str
    folder: Path
    truth: Mapping[int, Any]


def find(folder: Path) -> list[Footage]:
    """The sequences in a folder at any depth, or those of the demo world that it describes."""
    if rendered.is_world(folder):
        folder = _rendered(folder)
    texts = sorted(folder.rglob(TRUTH.as_posix()))
    if not texts:
        raise CionError(
            f"{folder}: no sequence with truth in it\nvalid: SEQUENCE/{TRUTH} beside "
            f"SEQUENCE/{sequence.INFO} and SEQUENCE/{sequence.FOLDER}/, or a folder with a "
            f"{rendered.FILE}"
        )
    return [_footage(text, folder) for text in texts]


def _rendered(world: Path) -> Path:
    """The sequences of a world, which are rendered once and kept in `.cion`."""
    folder = work.ROOT / "sequences" / work.key("", world / rendered.FILE)
    if not folder.is_dir():
        with work.replaced(folder) as out:
            rendered.sequences(world, out)
    progress.say(f"audit tracking: the sequences of {world} are in {folder}")
    return folder


def _footage(text: Path, top: Path) -> Footage:
    folder = text.parent.parent
    name = folder.name if folder == top else folder.relative_to(top).as_posix()
    try:
        return Footage(name, folder, load_mot_file(text))
    except (OSError, ValueError) as error:
        raise CionError(f"{text}: not the truth of a sequence: {error}") from None


def true_boxes(footage: Footage, looked_at: Sequence[int]) -> pd.DataFrame:
    """The true boxes of pedestrians in the frames that were looked at.

    Args:
        footage: the sequence.
        looked_at: frames, from 0.

    Returns:
        A row for each: x1, y1, x2, y2 in pixels from 0, person, frame from 0.
    """
    parts = [pd.DataFrame(columns=[*BOX, "person", "frame"], dtype=float)]
    for index in looked_at:
        true = footage.truth.get(index + 1)
        if true is None:
            continue
        counts = (true.confidences != 0) & (true.classes == PEDESTRIAN)
        left, top, width, height = true.boxes[counts].T
        corners = np.stack([left - 1, top - 1, left - 1 + width, top - 1 + height], axis=1)
        parts.append(
            pd.DataFrame(corners, columns=BOX).assign(person=true.ids[counts], frame=index)
        )
    return pd.concat(parts, ignore_index=True).astype({"person": int, "frame": int})


def true_lines(footage: Footage, looked_at: Sequence[int]) -> np.ndarray:
    """The truth of the frames that were looked at, as MOT writes it.

    Args:
        footage: the sequence.
        looked_at: frames, from 0.

    Returns:
        float64 [n, 8]: frame from 1, id, x, y from 1, width, height, whether it counts, class.
    """
    parts = [np.empty((0, 8))]
    for index in looked_at:
        true = footage.truth.get(index + 1)
        if true is not None:
            frame = np.full(len(true.ids), index + 1)
            columns = [frame, true.ids, *true.boxes.T, true.confidences, true.classes]
            parts.append(np.stack(columns, axis=1))
    return np.concatenate(parts)
