"""The people that were found, by number, and how sure their links across videos are; no files.

Two numbers tell who is on a crop. Its *identity* is denoising's: any number, -1 for nobody. A user
sees the *person number* instead: from 1, who is seen in the most videos first, 0 for nobody. The
tables that `cion identify` writes have it in the column `identity`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cion_core.denoise.linking.nodes import LinkRecord

# A number's colour steps this far around the circle of hues, so that neighbours differ much: the
# golden ratio.
HUE_STEP = 0.618033988749895


@dataclass(frozen=True)
class Person:
    """One person.

    Attributes:
        number: the person's number, from 1; who is seen in the most videos comes first.
        videos: how many videos the person is seen in.
        tracklets: in how many tracklets.
        crops: how many pictures there are.
        least_probability: the lowest probability among the links that join the person across
            videos; None where there is no such link, or no probability is known.
    """

    number: int
    videos: int
    tracklets: int
    crops: int
    least_probability: float | None


def number_people(crops: pd.DataFrame, labels: np.ndarray) -> np.ndarray:
    """Number the people from 1: who is seen in more videos comes first, then who has more crops.

    Args:
        crops: with video, N rows.
        labels: int64 [N], the identities of denoising; -1: nobody's.

    Returns:
        int64 [N], the number of the person on each crop; 0: nobody's.
    """
    table = pd.DataFrame({"video": crops.video.to_numpy(object), "label": labels})
    table = table[table.label >= 0]
    seen = table.groupby("label").agg(videos=("video", "nunique"), crops=("video", "size"))
    # The last key counts first; where people are equal in both, the lower label comes first.
    order = np.lexsort((seen.index.to_numpy(), -seen.crops.to_numpy(), -seen.videos.to_numpy()))
    number_of_label = pd.Series(np.arange(1, len(order) + 1), seen.index[order])
    return pd.Series(labels).map(number_of_label).fillna(0).to_numpy(np.int64)


def describe_people(
    crops: pd.DataFrame, numbers: np.ndarray, labels: np.ndarray, links: LinkRecord
) -> list[Person]:
    """Describe each person.

    Args:
        crops: with video and tracklet, N rows.
        numbers: int64 [N], the number of the person on each crop, from `number_people`.
        labels: int64 [N], the identities of denoising.
        links: those across videos, which name people by these identities.

    Returns:
        The people, in the order of their numbers.
    """
    least_of_label = _least_probabilities(links)
    table = crops[["video", "tracklet"]].assign(number=numbers, label=labels)
    people = []
    for number, rows in table[table.number > 0].groupby("number"):
        label = int(rows.label.iloc[0])
        described = Person(
            number=int(number),
            videos=int(rows.video.nunique()),
            tracklets=int(rows.tracklet.nunique()),
            crops=len(rows),
            least_probability=least_of_label.get(label),
        )
        people.append(described)
    return people


def _least_probabilities(links: LinkRecord) -> dict[int, float]:
    """The lowest probability of the merges that made each label; labels without any are absent."""
    is_known = ~np.isnan(links.probability)
    first_nodes = links.merges[is_known, 0]
    labels_of_merges = links.identity[first_nodes]
    least = pd.Series(links.probability[is_known]).groupby(labels_of_merges).min()
    return {int(label): float(probability) for label, probability in least.items()}


def choose_hue(person: int) -> float:
    """Choose the hue of a person's colour: the same on every page and in every video.

    Args:
        person: the person's number.

    Returns:
        0..1, around the circle of hues.
    """
    return person * HUE_STEP % 1.0
