"""The words for what the ledger holds, and for a crop's whole way."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd

from cion_core import tables
from cion_core.audit.nearby import NEAR
from cion_core.denoise.linking.rules import RULES

if TYPE_CHECKING:
    from cion_core.audit.explain import Step, Story

MARKS = dict(zip(tables.LEVELS, "①②③", strict=True))
# Levels 1 and 2, by action and rule; {0} is the row of the ledger.
WITHIN = {
    "tracklet": {
        ("kept", "radius"): (
            "{0.distance:.3f} from its tracklet's other crops, within radius {0.limit:.3f}"
        ),
        ("dropped", "radius"): (
            "{0.distance:.3f} from its tracklet's other crops, beyond radius {0.limit:.3f}"
        ),
        ("dropped", "outlier"): (
            "{0.distance:.3f} from its tracklet's other crops, beyond radius {0.limit:.3f}, "
            "and apart from all crops of its video: perhaps no person"
        ),
        ("cut", "switch"): (
            "cut off from tracklet {0.other}: from here on it shows somebody else, "
            "by {0.distance:.3f} where {0.limit:.3f} is enough"
        ),
        ("dropped", "min_crops"): "fewer than {0.limit:.0f} of its tracklet's crops are left",
    },
    "video": {
        ("kept", "radius"): (
            "{0.distance:.3f} from its identity's other crops; it stays where its tracklet is"
        ),
        ("dropped", "radius"): (
            "{0.distance:.3f} from its identity's other crops, beyond radius {0.limit:.3f}"
        ),
        ("dropped", "no_home"): (
            "no identity of its video within radius {0.limit:.3f} and clear of the next may take it"
        ),
        ("moved", "radius"): (
            "{0.distance:.3f} from the centroid of identity {0.other}, within radius {0.limit:.3f}"
        ),
        ("merged", "separation"): (
            "merged with identity {0.other}: alike beyond what is common in the video, "
            "{0.distance:.3f} apart, below {0.limit:.3f}"
        ),
    },
}
# Level 3, by action; the linking rule says what it compares.
ACROSS = {
    "kept": "identity {0.to}: no other within {0.limit:.3f} may be the same",
    "linked": (
        "linked with identity {0.other}: {compares} {0.distance:.3f} apart, below {0.limit:.3f}"
        "{sure}; now identity {0.to}"
    ),
}


def sentence(row: Any) -> str:
    """What a row of the ledger says, in words.

    Args:
        row: has tables.Ledger's columns as attributes (`DataFrame.iloc`, `itertuples`).
    """
    if row.level == tables.LEVELS[-1]:
        compares = RULES.named(row.rule).compares
        return ACROSS[row.action].format(row, compares=compares, sure=sure(row.probability))
    return WITHIN[row.level][row.action, row.rule].format(row)


def sure(probability: float) -> str:
    """How often such links are right, as the end of a clause; nothing for NaN."""
    if pd.isna(probability):
        return ""
    tenths = round(10 * probability)
    ends = {0: "hardly ever", 10: "nearly always"}
    often = ends.get(tenths, f"in about {tenths} of 10 cases")
    return f" (such links are right {often})"


def counted(count: int, what: str) -> str:
    """1 crop, 2 crops."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def text(story: Story) -> str:
    """The story for a terminal."""
    seen = []
    for name, value in story.seen.items():
        shown = f"{value:.1f} s" if name == "time_s" else value
        seen.append(f"{name.removesuffix('_s')} {shown}")
    lines = [f"crop {story.crop}: {', '.join(seen)}"]
    for step in story.steps:
        lines += ["", *_step_lines(step)]
    return "\n".join(lines)


def _step_lines(step: Step) -> list[str]:
    """A heading, the reason, what lies around, and the identity before and after."""
    thresholds = asdict(step.thresholds).items()
    limits = ", ".join(f"{name} {value:.3f}" for name, value in thresholds if value is not None)
    heading = f"{MARKS[step.level]} {step.level}: {step.action}"
    lines = [f"{heading} ({limits})" if limits else heading, f"  {step.reason}"]

    place = step.place
    if place:
        lines.append(
            f"  {place.distance:.3f} from the centroid of all {place.of} crops of its tracklet: "
            f"number {place.rank} from far, median {place.median:.3f}, "
            f"largest {place.largest:.3f}"
        )
    where = " (in the space that linking adapts to the footage)" if step.adapted else ""
    if step.joined:
        named = ", ".join(f"{group.identity} at {group.distance:.3f}" for group in step.joined)
        more = f" and {step.parts - NEAR} more" if step.parts > NEAR else ""
        lines.append(f"  put together with identity {named}{more}{where}")
    if step.others:
        lines.append(f"  nearest of those it was not put with{where}:")
    for group in step.others:
        why_not = ", seen together: two people" if group.forbidden else ""
        size = counted(group.crops, "crop")
        lines.append(f"    identity {group.identity} at {group.distance:.3f}, {size}{why_not}")

    change = f"  identity {_name(step.before)} → {_name(step.after)}"
    if step.after >= 0:
        sizes = {"crop": step.crops, "tracklet": step.tracklets, "video": step.videos}
        change += ": " + ", ".join(counted(number, noun) for noun, number in sizes.items())
    return [*lines, change]


def _name(identity: int) -> str:
    return str(identity) if identity >= 0 else "none"
