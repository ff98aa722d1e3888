"""The people that were found: numbered, and how sure each one's links across videos are. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cion_core.denoise.linking.nodes import Links

# A number's colour steps this far around the circle of hues, so that neighbours differ much: the
# golden ratio.
HUE_STEP = 0.618033988749895


@dataclass(frozen=True)
class Person:
    """One person.

    Args:
        identity: the person's number, from 1; who is seen in the most videos comes first.
        videos: in how many.
        tracklets: how often seen: stretches of a video.
        crops: pictures of them.
        sure: how likely the least sure of the links is right that join the person across videos;
            None where there is no link, or nothing is known of how sure it is.
    """

    identity: int
    videos: int
    tracklets: int
    crops: int
    sure: float | None


def number_people(crops: pd.DataFrame, labels: np.ndarray) -> np.ndarray:
    """Number the people from 1: who is seen in more videos comes first, then who has more crops.

    Args:
        crops: with video, N rows.
        labels: int64 [N], the identities of denoising, in no order; -1: nobody's.

    Returns:
        int64 [N], the number of the person on each crop; 0: nobody's.
    """
    table = pd.DataFrame({"video": crops.video.to_numpy(object), "label": labels})
    table = table[table.label >= 0]
    seen = table.groupby("label").agg(videos=("video", "nunique"), crops=("video", "size"))
    order = np.lexsort((seen.index.to_numpy(), -seen.crops.to_numpy(), -seen.videos.to_numpy()))
    identity_of = pd.Series(np.arange(1, len(order) + 1), seen.index[order])
    return pd.Series(labels).map(identity_of).fillna(0).to_numpy(np.int64)


def describe_people(
    crops: pd.DataFrame, identity: np.ndarray, labels: np.ndarray, links: Links
) -> list[Person]:
    """Describe each person, in the order of their numbers.

    Args:
        crops: with video and tracklet, N rows.
        identity: int64 [N], as `number_people` returns it.
        labels: int64 [N], the identities of denoising.
        links: of level 3, which go by these.
    """
    sure_of = _least_probability(links)
    table = crops[["video", "tracklet"]].assign(identity=identity, label=labels)
    people = []
    for number, rows in table[table.identity > 0].groupby("identity"):
        described = Person(
            identity=int(number),
            videos=int(rows.video.nunique()),
            tracklets=int(rows.tracklet.nunique()),
            crops=len(rows),
            sure=sure_of.get(int(rows.label.iloc[0])),
        )
        people.append(described)
    return people


def _least_probability(links: Links) -> dict[int, float]:
    """The lowest probability of the merges that made each label; labels without any are absent."""
    known = ~np.isnan(links.probability)
    made = links.identity[links.merges[known, 0]]
    least = pd.Series(links.probability[known]).groupby(made).min()
    return {int(label): float(probability) for label, probability in least.items()}


def hue_of(identity: int) -> float:
    """Choose the hue of a person's colour: the same on every page and in every video.

    Args:
        identity: the person's number.

    Returns:
        0..1, around the circle of hues.
    """
    return identity * HUE_STEP % 1.0
