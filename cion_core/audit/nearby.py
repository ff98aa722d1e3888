"""What lies around a crop at a level: the identities put together with its own, and the nearest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cion_core.denoise.cannot_link import crop_pairs, forbidden_pairs, most_common_labels
from cion_core.denoise.linking.nodes import LinkRecord
from cion_core.errors import CionError
from cion_core.neighbours import arrays
from cion_core.neighbours.rows import Rows

# So many neighbours are named.
NEAR = 3
# So many crops stand for an identity in a picture.
SHOWN = 4
# Identities compared with all others at a time.
BLOCK = 1024
UNFIT = "level 3 was not made from these identities of level 2; denoise again (`dvc repro`)"


@dataclass(frozen=True)
class Group:
    """An identity near a crop.

    Attributes:
        identity: its number.
        distance: in the level's space, from the crop's own identity; from the crop itself if the
            level parted it from its identity (dropped, or moved to another).
        crops: how many it has.
        forbidden: it was seen together with the crop's, so they are two people.
        shown: its crops nearest to its centroid.
    """

    identity: int
    distance: float
    crops: int
    forbidden: bool
    shown: tuple[int, ...]


class Around:
    """The identities before and after a level, among the crops that the level looks at together.

    Level 2 compares crops, and centroids of all crops of an identity. Level 3 compares the
    identities of level 2 as `links` holds them, so distances are between means of their points.

    Args:
        crops: N of them, as `checks.checked` returns them.
        features: [N, D], likewise.
        before: int64 [N], the labels that came into the level.
        after: int64 [N], those that it left.
        rows: ascending, the crops that the level looks at together.
        cannot_link: whether people seen together were kept apart.
        links: of level 3; None for level 2.

    Raises:
        CionError: the links do not belong to these labels.
    """

    def __init__(
        self,
        crops: pd.DataFrame,
        features: np.ndarray | Rows,
        before: np.ndarray,
        after: np.ndarray,
        rows: np.ndarray,
        cannot_link: bool,
        links: LinkRecord | None = None,
    ) -> None:
        self.crops, self.features = crops, features
        self.before, self.after = before, after
        self.rows = rows
        self.across = links is not None
        self.pairs = crop_pairs(crops.iloc[rows], cannot_link)

        # Where most crops of each identity of `before` are now.
        known = rows[before[rows] >= 0]
        self.became = most_common_labels(before[known], after[known])
        if links:
            self._measure_links(links, known)
        else:
            everything = np.arange(len(rows))
            found_before = _centroids(features, before, rows)
            found_after = _centroids(features[rows], after[rows], everything)
            self.identities_before, self.centres_before = found_before
            self.identities_after, self.centres_after = found_after

        # Which identities of `after` were seen together: [n, n], as in `identities_after`.
        self.forbidden = forbidden_pairs(crops.iloc[rows], after[rows], self.pairs)

    def _measure_links(self, links: LinkRecord, known: np.ndarray) -> None:
        """Identities before and after level 3, in the space that linking compares in."""
        video_identity = links.video_identity
        everything = np.arange(len(video_identity))
        found_before = _centroids(links.points, video_identity, everything)
        self.identities_before, self.centres_before = found_before
        same_identities = np.array_equal(self.identities_before, np.unique(self.before[known]))
        now = self.became.reindex(self.before).fillna(-1).to_numpy()
        if not same_identities or (now != self.after).any():
            raise CionError(UNFIT)
        identity_after = self.became.reindex(video_identity).to_numpy()
        found_after = _centroids(links.points, identity_after, everything)
        self.identities_after, self.centres_after = found_after

    def of(self, row: int) -> dict[str, object]:
        """What lies around the crop in that row of the table.

        Returns:
            `parts`, `joined` and `others` of an `explain.Step`; nothing for a crop that level 3
            never compared.
        """
        identity, identity_before = int(self.after[row]), int(self.before[row])
        if self.across and identity_before < 0:
            return {}
        has_both = identity >= 0 and identity_before >= 0
        left_its_identity = not has_both or self.became[identity_before] != identity

        # 1. Identities of before that are now one with the crop's.
        own_point = self._own_point(row, left_its_identity)
        parts = []
        for earlier, now in self.became.items():
            if identity >= 0 and now == identity and earlier != identity_before:
                parts.append(earlier)
        joined = [(float(1 - self._centre(part) @ own_point), part) for part in parts]

        # 2. Identities of after that are not the crop's.
        if not self.across and not left_its_identity:
            place = np.searchsorted(self.identities_after, identity)
            own_point = self.centres_after[place]
        distance = 1 - self.centres_after @ own_point
        others = []
        for away, other in zip(distance, self.identities_after, strict=True):
            if other != identity:
                others.append((float(away), int(other)))
        forbidden = self._forbidden(row, left_its_identity)
        return {
            "parts": len(parts),
            "joined": self._nearest_groups(joined, self.before, set()),
            "others": self._nearest_groups(others, self.after, forbidden),
        }

    def nearest(self) -> pd.DataFrame:
        """For every identity of before level 3, the nearest other identity of after it.

        Returns:
            identity; distance (infinite: there is no other); forbidden: whether the two were seen
            together.
        """
        became = self.became.reindex(self.identities_before).to_numpy()
        own = np.searchsorted(self.identities_after, became)
        other = np.empty(len(own), np.int64)
        distance = np.empty(len(own))
        for start in range(0, len(own), BLOCK):
            block = slice(start, start + BLOCK)
            to_all = 1 - self.centres_before[block] @ self.centres_after.T
            line = np.arange(len(to_all))
            to_all[line, own[block]] = np.inf
            other[block] = to_all.argmin(1)
            distance[block] = to_all.min(1)

        # A pair (i, j) of n identities as one number, i * n + j.
        count = len(self.identities_after)
        first, second = self.forbidden.nonzero()
        forbidden = np.isin(own * count + other, first * count + second)
        return pd.DataFrame(
            {"identity": self.identities_before, "distance": distance, "forbidden": forbidden}
        )

    def _own_point(self, row: int, left_its_identity: bool) -> np.ndarray:
        """From where distances to identities of before are measured."""
        if left_its_identity and not self.across:
            return self.features[row : row + 1][0]
        return self._centre(int(self.before[row]))

    def _centre(self, identity: int) -> np.ndarray:
        """The centroid of an identity of before."""
        place = np.searchsorted(self.identities_before, identity)
        return self.centres_before[place]

    def _forbidden(self, row: int, left_its_identity: bool) -> set[int]:
        """Identities of after that the crop's own, or the crop if it came alone, was seen with."""
        if left_its_identity:
            place = np.searchsorted(self.rows, row)
            is_own = (self.pairs == place).any(1)
            met = self.after[self.rows][self.pairs[is_own]]
            return set(met[met >= 0].tolist())
        own = np.searchsorted(self.identities_after, self.after[row])
        forbidden = self.forbidden[own].nonzero()[1]
        return set(self.identities_after[forbidden].tolist())

    def _nearest_groups(
        self, found: list[tuple[float, int]], labels: np.ndarray, forbidden: set[int]
    ) -> tuple[Group, ...]:
        """The NEAR nearest of (distance, identity by `labels`)."""
        groups = []
        for distance, identity in sorted(found)[:NEAR]:
            is_member = labels[self.rows] == identity
            members = self.rows[is_member]
            best = shown(self.crops, self.features, members)
            is_forbidden = identity in forbidden
            groups.append(Group(identity, max(distance, 0.0), len(members), is_forbidden, best))
        return tuple(groups)


def shown(crops: pd.DataFrame, features: np.ndarray | Rows, rows: np.ndarray) -> tuple[int, ...]:
    """The numbers of the crops nearest to the centroid of `rows`, SHOWN at most."""
    if not len(rows):
        return ()
    values = features[rows]
    centroid = arrays.unit(values.sum(0, keepdims=True))[0]
    by_distance = np.argsort(-values @ centroid, kind="stable")
    nearest = rows[by_distance[:SHOWN]]
    numbers = crops.crop.to_numpy()
    return tuple(numbers[nearest].tolist())


def _centroids(
    points: np.ndarray | Rows, labels: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The identities among `rows`, sorted, and their centroids of unit length."""
    labelled = rows[labels[rows] >= 0]
    group = np.full(len(labels), -1, np.int64)
    identities, group[labelled] = np.unique(labels[labelled], return_inverse=True)
    return identities, arrays.centroids(points, group, len(identities))
