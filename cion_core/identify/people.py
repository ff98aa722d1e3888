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
        number: from 1; who is seen in the most videos comes first.
        videos: in how many.
        tracklets: how often seen: stretches of a video.
        crops: pictures of them.
        sure: how likely the least sure of the links is right that join the person across videos;
            None where there is no link, or nothing is known of how sure it is.
    """

    number: int
    videos: int
    tracklets: int
    crops: int
    sure: float | None


def number_people(crops: pd.DataFrame, identity: np.ndarray) -> np.ndarray:
    """Number the people from 1: who is seen in more videos comes first, then who has more crops.

    Args:
        crops: with video, N rows.
        identity: int64 [N], as denoising names it; -1: nobody's.

    Returns:
        int64 [N]; 0: nobody's.
    """
    table = pd.DataFrame({"video": crops.video.to_numpy(object), "identity": identity})
    table = table[table.identity >= 0]
    seen = table.groupby("identity").agg(videos=("video", "nunique"), crops=("video", "size"))
    order = np.lexsort((seen.index.to_numpy(), -seen.crops.to_numpy(), -seen.videos.to_numpy()))
    number = pd.Series(np.arange(1, len(order) + 1), seen.index[order])
    return pd.Series(identity).map(number).fillna(0).to_numpy(np.int64)


def describe_people(
    crops: pd.DataFrame, number: np.ndarray, identity: np.ndarray, links: Links
) -> list[Person]:
    """Describe each person, in the order of their numbers.

    Args:
        crops: with video and tracklet, N rows.
        number: int64 [N], from 1; 0: nobody's.
        identity: int64 [N], as denoising names it.
        links: of level 3.
    """
    sure_of = _least_probability(links)
    table = crops[["video", "tracklet"]].assign(number=number, identity=identity)
    people = []
    for person, rows in table[table.number > 0].groupby("number"):
        described = Person(
            number=int(person),
            videos=int(rows.video.nunique()),
            tracklets=int(rows.tracklet.nunique()),
            crops=len(rows),
            sure=sure_of.get(int(rows.identity.iloc[0])),
        )
        people.append(described)
    return people


def _least_probability(links: Links) -> dict[int, float]:
    """The lowest probability of the merges that made each identity; identities without any are left
    out.
    """
    known = ~np.isnan(links.probability)
    made = links.identity[links.merges[known, 0]]
    least = pd.Series(links.probability[known]).groupby(made).min()
    return {int(identity): float(probability) for identity, probability in least.items()}


def hue_of(number: int) -> float:
    """The hue of a person's colour, 0..1: the same on every page and in every video."""
    return number * HUE_STEP % 1.0
