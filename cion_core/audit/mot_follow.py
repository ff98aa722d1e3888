"""What trackers make of sequences of the MOT challenge.

A user's frames are decoded in a worker process (`crew`): a sequence that is damaged, crashes the
decoder, or fills the memory costs itself alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from cion_core import crew, progress
from cion_core.audit import mot_scores
from cion_core.audit.mot_sequences import BOX, Footage
from cion_core.extract.detectors.base import Detector
from cion_core.extract.settings import Extract
from cion_core.extract.shared_detector import make_detector
from cion_core.extract.trackers import TRACKERS
from cion_core.extract.video_crops import keep_usable
from cion_core.ingest import sequence, video
from cion_core.ingest.problems import NO_FRAME, BadVideo


@dataclass(frozen=True)
class Followed:
    """What one tracker made of a sequence.

    Attributes:
        tracked: frame (from 0), time_s, tracklet, x1, y1, x2, y2 of each box.
        looked_at: The frames that were looked at, from 0.
    """

    tracked: pd.DataFrame
    looked_at: list[int]


def follow_all(
    footage: Sequence[Footage], variants: Mapping[str, Extract]
) -> tuple[dict[str, dict[str, Followed]], dict[str, str]]:
    """Follow people through sequences, one after another, in a worker process.

    Args:
        footage: The sequences.
        variants: The section `extract` of each variant, by name; they share the detector.

    Returns:
        {sequence: {variant: what it made of it}}; and the reason by the name of each sequence that
        cannot be used.
    """
    p = next(iter(variants.values()))
    function = partial(_follow_one, variants=dict(variants))
    outcomes = crew.work(footage, function, processes=1, setup=partial(make_detector, p))
    followed, set_aside = {}, {}
    for outcome in progress.track(outcomes, "track", "sequence", len(footage)):
        found = outcome.failure or outcome.result
        into = set_aside if isinstance(found, str) else followed
        into[outcome.job.name] = found
    return followed, set_aside


def _follow_one(
    footage: Footage, detector: Detector, report: crew.Report, variants: Mapping[str, Extract]
) -> dict[str, Followed] | str:
    """The job of a worker; why the sequence cannot be used, in words, where it cannot."""
    try:
        return follow(footage, variants, detector, report)
    except BadVideo as reason:
        return str(reason)


def follow(
    footage: Footage,
    variants: Mapping[str, Extract],
    detector: Detector,
    report: crew.Report,
) -> dict[str, Followed]:
    """What each variant makes of a sequence.

    Args:
        footage: The sequence.
        variants: The section `extract` of each variant, by name.
        detector: Finds people for all of them.
        report: Is told of each frame, as a sign of life.

    Raises:
        BadVideo: It cannot be used.
    """
    p = next(iter(variants.values()))
    rate = sequence.frame_rate(footage.folder)
    probe = video.probe(footage.folder, rate, report)
    detector.begin(footage.folder, probe)
    frames = video.Frames(footage.folder, probe.fps, p.rate, report=report)
    looks = min(p.rate, probe.fps)
    trackers = {name: TRACKERS.named(own.tracker)(own, looks) for name, own in variants.items()}
    rows: dict[str, list[pd.DataFrame]] = {name: [] for name in variants}
    looked_at = []
    for index, time, frame in frames:
        report(1)
        looked_at.append(index)
        found = keep_usable(detector.detect(frame, index), frame.shape, p.confidence, p.min_height)
        for name, tracker in trackers.items():
            tracked = tracker.update(found, time, frame)
            boxes = pd.DataFrame(tracked.xyxy, columns=BOX)
            rows[name].append(boxes.assign(frame=index, time_s=time, tracklet=tracked.tracker_id))
    if not looked_at:
        raise BadVideo(NO_FRAME)
    followed = {}
    for name, parts in rows.items():
        tracked = pd.concat(parts, ignore_index=True)
        is_kept = mot_scores.long_enough(tracked, p.crop_rate, p.min_crops)
        followed[name] = Followed(tracked[is_kept], looked_at)
    return followed
