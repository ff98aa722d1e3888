"""What lies around a crop at one level: the identities that were put together with its own, and the nearest others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cion_core.denoise import cannot_link
from cion_core.denoise.linking.nodes import Links
from cion_core.errors import CionError
from cion_core.neighbours import arrays
from cion_core.neighbours.rows import Rows

NEAR = 3  # neighbours that are told
SHOWN = 4  # crops that stand for an identity in a picture
BLOCK = 1024
UNFIT = "level 3 did not go on from these identities of level 2; denoise again (`dvc repro`)"


@dataclass(frozen=True)
class Group:
    """An identity beside the crop: `distance` is in the level's space, from the crop's own identity, but from the crop
    itself if it came alone (dropped, or moved from one identity to another).

    forbidden: it was seen together with the crop's, so they are two people. shown: its crops nearest to its centroid.
    """

    identity: int
    distance: float
    crops: int
    forbidden: bool
    shown: tuple[int, ...]


class Around:
    """The identities before and after a level among the crops that it looks at together: made once, asked of many.

    crops, features as `checks.checked` returns them; before, after int64 [N]: labels; rows: the crops that the level
    looks at together, ascending. links: level 3's, which compares the tracklets of `before` as they hold them: told is
    of the centroids of these; None: level 2, which compares crops and the centroids of all crops together.
    """

    def __init__(
        self,
        crops: pd.DataFrame,
        features: np.ndarray | Rows,
        before: np.ndarray,
        after: np.ndarray,
        rows: np.ndarray,
        cannot: bool,
        links: Links | None = None,
    ) -> None:
        self.crops, self.features, self.before, self.after = crops, features, before, after
        self.rows, self.across = rows, links is not None
        self.pairs = cannot_link.crop_pairs(crops.iloc[rows], cannot)
        known = rows[before[rows] >= 0]
        if links:
            self.names, self.centres = _centroids(links.points, links.names, np.arange(len(links.names)))
            if not np.array_equal(self.names, np.unique(before[known])):
                raise CionError(UNFIT)
        else:
            self.names, self.centres = _centroids(features, before, rows)
        self.homes = cannot_link.homes(before[known], after[known])  # where most of each identity of before is now
        if links:  # identities of after, as the mean of their points
            if (self.homes.reindex(before).fillna(-1).to_numpy() != after).any():
                raise CionError(UNFIT)
            to, points = self.homes.reindex(links.names).to_numpy(), links.points
        else:
            to, points = after[rows], features[rows]
        self.ends, self.means = _centroids(points, to, np.arange(len(to)))
        self.never = cannot_link.between(crops.iloc[rows], after[rows], self.pairs)  # [n, n], over `ends`

    def of(self, row: int) -> dict[str, object]:
        """For the crop in that row of the table: `parts`, `joined` and `others` of an `explain.Step`."""
        mine, own = int(self.after[row]), int(self.before[row])
        if self.across and own < 0:  # never was compared
            return {}
        alone = mine < 0 or own < 0 or self.homes[own] != mine
        me = self.features[row : row + 1][0] if alone and not self.across else self._centre(own)
        parts = [name for name, home in self.homes.items() if mine >= 0 and home == mine and name != own]
        joined = [(float(1 - self._centre(name) @ me), name) for name in parts]
        if not self.across and not alone:
            me = self.means[np.searchsorted(self.ends, mine)]
        others = [(float(d), int(name)) for d, name in zip(1 - self.means @ me, self.ends, strict=True) if name != mine]
        barred = self._forbidden(row, alone)
        return {
            "parts": len(parts),
            "joined": self._told(joined, self.before, set()),
            "others": self._told(others, self.after, barred),
        }

    def nearest(self) -> pd.DataFrame:
        """Level 3's first of `others` for every `identity` of before: its `distance` (inf: there is none), and whether
        it is `forbidden`."""
        own = np.searchsorted(self.ends, self.homes.reindex(self.names).to_numpy())
        other, distance = np.empty(len(own), np.int64), np.empty(len(own))
        for start in range(0, len(own), BLOCK):
            here = slice(start, start + BLOCK)
            d = 1 - self.centres[here] @ self.means.T
            d[np.arange(len(d)), own[here]] = np.inf
            other[here], distance[here] = d.argmin(1), d.min(1)
        i, j = self.never.nonzero()
        forbidden = np.isin(own * len(self.ends) + other, i * len(self.ends) + j)
        return pd.DataFrame({"identity": self.names, "distance": distance, "forbidden": forbidden})

    def _centre(self, name: int) -> np.ndarray:
        return self.centres[np.searchsorted(self.names, name)]

    def _forbidden(self, row: int, alone: bool) -> set[int]:
        """Identities of after that the crop's own, or the crop `alone`, can never be one with."""
        labels = self.after[self.rows]
        if alone:
            met = labels[self.pairs[(self.pairs == np.searchsorted(self.rows, row)).any(1)]]
            return set(met[met >= 0].tolist())
        line = self.never[np.searchsorted(self.ends, self.after[row])]
        return set(self.ends[line.nonzero()[1]].tolist())

    def _told(self, found: list[tuple[float, int]], labels: np.ndarray, barred: set[int]) -> tuple[Group, ...]:
        out = []
        for distance, name in sorted(found)[:NEAR]:
            members = self.rows[labels[self.rows] == name]
            best = shown(self.crops, self.features, members)
            out.append(Group(name, max(distance, 0.0), len(members), name in barred, best))
        return tuple(out)


def shown(crops: pd.DataFrame, features: np.ndarray | Rows, rows: np.ndarray) -> tuple[int, ...]:
    """The crops nearest to the centroid of `rows`, SHOWN at most."""
    if not len(rows):
        return ()
    values = features[rows]
    near = np.argsort(-values @ arrays.unit(values.sum(0, keepdims=True))[0], kind="stable")[:SHOWN]
    return tuple(crops.crop.to_numpy()[rows[near]].tolist())


def _centroids(points: np.ndarray | Rows, labels: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The identities among `rows`, sorted, and their unit centroids."""
    inside = np.full(len(labels), -1, np.int64)
    rows = rows[labels[rows] >= 0]
    names, inside[rows] = np.unique(labels[rows], return_inverse=True)
    return names, arrays.centroids(points, inside, len(names))
