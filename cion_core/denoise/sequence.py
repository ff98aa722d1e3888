"""All videos as one long sequence of nodes, which level 3 gives to a linking rule.

And back: what the rule found of nodes is told of their crops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from cion_core.denoise import crop_weights
from cion_core.denoise.cannot_link import crop_pairs, forbidden_pairs, most_common_labels
from cion_core.denoise.linking.agglomeration import lowest_of_each
from cion_core.denoise.linking.nodes import Nodes
from cion_core.denoise.result import ledger
from cion_core.neighbours.arrays import centroids
from cion_core.neighbours.rows import Rows


@dataclass(frozen=True)
class Sequence:
    """What comes in, as one sequence of nodes.

    Args:
        video_identity: int64 [n], the identity of level 2 of each node.
        nodes: what a rule is given of them.
        pairs: int [P, 2], pairs of crops that show different people.
    """

    video_identity: np.ndarray
    nodes: Nodes
    pairs: np.ndarray

    @classmethod
    def of(
        cls,
        crops: pd.DataFrame,
        features: np.ndarray | Rows,
        labels: np.ndarray,
        cannot_link: bool,
    ) -> Sequence:
        """Lay out the crops that have an identity.

        Args:
            crops: as `checks.checked` returns them.
            features: likewise, float32 [N, D].
            labels: int64 [N], the identity of level 2 of each crop; -1: none.
            cannot_link: whether two tracklets seen together are two people.
        """
        # Step 1: the nodes, numbered by identity and tracklet.
        groups, identities = split_by_tracklet(crops.tracklet.to_numpy(), labels)
        rows = np.flatnonzero(groups >= 0)
        pairs = crop_pairs(crops, cannot_link)
        forbidden = forbidden_pairs(crops, groups, pairs)

        # Step 2: number them anew, in the order of the sequence.
        order, _, views = order_by_sight(crops.iloc[rows], groups[rows])
        new_number = np.argsort(order)
        groups[rows] = new_number[groups[rows]]
        identities = identities[order]
        forbidden = forbidden[order][:, order]
        forbidden = _without_same_identity(forbidden, identities)

        weights = crop_weights.weights_of(crops, pairs)
        centres = centroids(features, groups, len(identities), weights)
        initial_sets = lowest_of_each(identities)
        nodes = Nodes(centres, views, forbidden, features, groups, initial_sets)
        return cls(identities, nodes, pairs)

    @property
    def crop_count(self) -> int:
        """How many crops have an identity."""
        return int((self.nodes.groups >= 0).sum())

    def of_crops(self, identity: np.ndarray) -> np.ndarray:
        """The identity of each crop from that of each node, int64 [N]; -1: none."""
        groups = self.nodes.groups
        in_node = groups >= 0
        labels = np.full(len(groups), -1, np.int64)
        labels[in_node] = identity[groups[in_node]]
        return labels

    def ledger(
        self,
        fate: tuple[pd.Categorical, np.ndarray, np.ndarray, np.ndarray],
        limit: float,
        rule: str,
        crops: pd.DataFrame,
        before: np.ndarray,
        after: np.ndarray,
    ) -> pd.DataFrame:
        """What became of each node, told of its crops.

        Args:
            fate: action, other, distance and probability of each node.
            limit: the separation.
            rule: the name of the linking rule.
            crops: all crops.
            before: int64 [N], the identity of each crop before.
            after: int64 [N], and now.
        """
        rows = np.flatnonzero(self.nodes.groups >= 0)
        node = self.nodes.groups[rows]
        action, other, distance, probability = (column[node] for column in fate)
        rules = pd.Categorical.from_codes(np.zeros(len(rows), np.int8), [rule])
        return ledger(
            crops.iloc[rows],
            "cross_video",
            action,
            other,
            distance,
            limit,
            rules,
            before[rows],
            after[rows],
            probability,
        )


def split_by_tracklet(tracklets: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split identities into the tracklets that are at home in them.

    A tracklet is at home in the identity that holds most of its crops. A crop that came from
    elsewhere, or from a part cut off its tracklet, goes with the largest of the identity's
    tracklets (ties: the lowest), or makes a part with others of its kind where none is at home.

    Args:
        tracklets: int64 [N].
        labels: int64 [N], the identity of each crop; -1: none.

    Returns:
        The part of each crop, int64 [N], -1: none, numbered by identity and tracklet; and the
        identity of each part.
    """
    home = most_common_labels(tracklets, labels).reindex(tracklets).to_numpy()
    at_home = (labels >= 0) & (labels == home)
    largest = most_common_labels(labels[at_home], tracklets[at_home])
    largest_of_own = largest.reindex(labels).fillna(-1).to_numpy(np.int64)
    part = np.where(at_home, tracklets, largest_of_own)

    # Number the pairs of an identity and a part.
    rows = np.flatnonzero(labels >= 0)
    identities, identity_place = np.unique(labels[rows], return_inverse=True)
    all_parts, part_place = np.unique(part[rows], return_inverse=True)
    width = max(len(all_parts), 1)
    keys, number = np.unique(identity_place * width + part_place, return_inverse=True)
    groups = np.full(len(labels), -1, np.int64)
    groups[rows] = number
    return groups, identities[keys // width]


def order_by_sight(
    crops: pd.DataFrame, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Order what all videos hold as one sequence: by video, and by when it is first seen in it.

    Args:
        crops: with video and frame.
        labels: int64 [N], what each crop belongs to.

    Returns:
        Their order among the sorted labels, and the label and the video of each in that order, int
        [n].
    """
    owners, groups = np.unique(labels, return_inverse=True)
    video = np.empty(len(owners), np.int64)
    video[groups] = pd.factorize(crops.video, sort=True)[0]
    first_frame = np.full(len(owners), np.iinfo(np.int64).max)
    np.minimum.at(first_frame, groups, crops.frame.to_numpy(np.int64))
    order = np.lexsort((owners, first_frame, video))
    return order, owners[order], video[order]


def _without_same_identity(
    forbidden: sparse.csr_matrix, identities: np.ndarray
) -> sparse.csr_matrix:
    """Forbidden pairs without those of one identity.

    A tracklet that level 2 moved there crop by crop may have been seen with another one, but what
    level 2 has put together is not parted.
    """
    i, j = forbidden.nonzero()
    forbidden.data = identities[i] != identities[j]
    forbidden.eliminate_zeros()
    return forbidden
