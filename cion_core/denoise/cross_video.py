"""Level 3, across videos: a rule links identities of one person, in a Sliding Range over all.

What is compared is the tracklets that identities consist of: one centroid for several of them would
be like the average person, and people who come again are found by the one sight of them that looks
the same. Tracklets that level 2 has put into one identity begin together, and stay so.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from cion_core.denoise import cannot_link, noise
from cion_core.denoise.linking import sliding_range
from cion_core.denoise.linking.agglomeration import sum_over_groups
from cion_core.denoise.linking.nodes import LinkingResult, LinkRecord, Nodes
from cion_core.denoise.linking.rules import RULES
from cion_core.denoise.linking.rules.base import LinkingRule
from cion_core.denoise.linking.sliding_range import Range
from cion_core.denoise.noise import Noise
from cion_core.denoise.result import Level
from cion_core.denoise.sequence import Sequence
from cion_core.denoise.settings import Settings, Thresholds
from cion_core.neighbours.rows import Rows
from cion_core.tables import ACTIONS

# Beyond any identity: that of a node which has none from before.
NO_IDENTITY = np.iinfo(np.int64).max


def link_videos(
    crops: pd.DataFrame,
    features: np.ndarray | Rows,
    labels: np.ndarray,
    settings: Settings,
    saved: Path | None = None,
) -> Level:
    """Level 3: link identities of all videos by the rule that the settings name.

    Every crop that comes in stays.

    Args:
        crops: as `checks.checked` returns them.
        features: likewise, float32 [N, D].
        labels: int64 [N], from level 2; -1 for crops without an identity (they stay without).
        settings: a separation that is not given is found from the data.
        saved: a file (.npz) from which a killed run goes on, as far as the rule keeps one.
    """
    given = Sequence.of(crops, features, labels, settings.cannot_link)
    nodes = given.nodes
    thresholds = settings.thresholds("cross_video")
    calibrations = {}
    rule = _rule(settings, features.shape[1], saved)
    space, points = rule.fit(nodes)
    if thresholds.separation is None:
        calibrations["separation"] = rule.calibrate(nodes, points, settings.false_link_rate)
        thresholds = replace(thresholds, separation=calibrations["separation"].threshold)
    linked = rule.link(nodes, points, thresholds.separation, thresholds.radius)

    identity = _lowest_in_set(linked.sets, given.video_identity)
    after_labels = given.of_crops(identity)
    forbidden = cannot_link.forbidden_pairs(crops, after_labels, given.pairs)
    before, after = _noise(points, nodes, identity, linked, thresholds, forbidden)
    fate = describe_fates(given.video_identity, nodes.initial_sets, linked)
    links = LinkRecord(
        rule=settings.linking,
        video_identity=given.video_identity,
        identity=identity,
        points=points,
        forbidden=nodes.forbidden,
        rule_state=space | linked.rule_state,
        positions=rule.sliding.bounds(len(nodes)),
    )
    return Level(
        name="cross_video",
        labels=after_labels,
        ledger=given.ledger(
            fate, thresholds.separation, settings.linking, crops, labels, after_labels
        ),
        thresholds=thresholds,
        before=replace(before, crops=given.crop_count),
        after=replace(after, crops=given.crop_count),
        calibration=calibrations,
        links=links.with_merges(linked),
    )


def _noise(
    points: np.ndarray,
    nodes: Nodes,
    identity: np.ndarray,
    linked: LinkingResult,
    thresholds: Thresholds,
    forbidden: sparse.csr_matrix,
) -> tuple[Noise, Noise]:
    """The noise before and after; close pairs as the rule counts them, if it does."""
    if linked.close is None:
        sets = np.unique(nodes.initial_sets, return_inverse=True)[1]
        forbidden_before = sum_over_groups(nodes.forbidden, sets).astype(bool)
        before = noise.measure(points, nodes.initial_sets, thresholds, forbidden_before)
        after = noise.measure(points, identity, thresholds, forbidden)
        return before, after
    radius_alone = Thresholds(thresholds.radius)
    close_before, close_after = linked.close
    before = noise.measure(points, nodes.initial_sets, radius_alone)
    after = noise.measure(points, identity, radius_alone)
    return replace(before, close_pairs=close_before), replace(after, close_pairs=close_after)


def extend(
    earlier: Level,
    crops: pd.DataFrame,
    features: np.ndarray | Rows,
    labels: np.ndarray,
    settings: Settings,
) -> tuple[Level, pd.DataFrame]:
    """Level 3 for videos that come later: link their identities to those of an earlier result.

    That goes by the earlier thresholds and in the earlier space. Identities keep their numbers, but
    of several that become one the lowest stays. None is split.

    Args:
        earlier: the level as it was.
        crops: as for `link_videos`, of the new videos alone.
        features: likewise.
        labels: likewise.
        settings: what both have in common.

    Returns:
        The level of the new crops, but noise (pairs only where the rule counts them) and links are
        those of all. And a table of the earlier identities of level 2 that have another identity
        now, or were alone and are no longer: video_identity, action, other, distance, probability,
        from (identity of level 3), to.
    """
    given = Sequence.of(crops, features, labels, settings.cannot_link)
    nodes, old, thresholds = given.nodes, earlier.links, earlier.thresholds
    old_count = len(old.video_identity)
    rule = _rule(settings, features.shape[1])
    new_points, linked = rule.extend(old, nodes, thresholds.separation, thresholds.radius)

    # Old nodes stand before new ones. A set keeps the lowest earlier identity in it; one without
    # any is named after its lowest identity of level 2, as always.
    points = np.concatenate([old.points, new_points])
    video_identity = np.concatenate([old.video_identity, given.video_identity])
    none_from_before = np.full(len(given.video_identity), NO_IDENTITY)
    from_before = np.concatenate([old.identity, none_from_before])
    lowest_earlier = _lowest_in_set(linked.sets, from_before)
    lowest_of_all = _lowest_in_set(linked.sets, video_identity)
    identity = np.where(lowest_earlier == NO_IDENTITY, lowest_of_all, lowest_earlier)

    initial_sets = old.sets_with(nodes)
    fate = describe_fates(video_identity, initial_sets, linked)
    fate_of_new = tuple(column[old_count:] for column in fate)
    new_labels = given.of_crops(identity[old_count:])
    before, after = _noise_of_all(earlier, points, new_points, nodes, identity, linked)
    total = earlier.after.crops + given.crop_count
    links = replace(
        old,
        video_identity=video_identity,
        identity=identity,
        points=points,
        forbidden=old.forbidden_with(nodes),
        rule_state=old.rule_state | linked.rule_state,
    )
    level = Level(
        name="cross_video",
        labels=new_labels,
        ledger=given.ledger(
            fate_of_new, thresholds.separation, old.rule, crops, labels, new_labels
        ),
        thresholds=thresholds,
        before=replace(before, crops=total),
        after=replace(after, crops=total),
        calibration=earlier.calibration,
        links=links.with_merges(linked),
    )
    return level, _changes(old, initial_sets, identity, fate)


def _noise_of_all(
    earlier: Level,
    points: np.ndarray,
    new_points: np.ndarray,
    nodes: Nodes,
    identity: np.ndarray,
    linked: LinkingResult,
) -> tuple[Noise, Noise]:
    """The noise of earlier and new nodes, before the new ones were linked and after."""
    radius_alone = Thresholds(earlier.thresholds.radius)
    before = earlier.after + noise.measure(new_points, nodes.initial_sets, radius_alone)
    after = noise.measure(points, identity, radius_alone)
    if linked.close is None:
        return replace(before, close_pairs=None), replace(after, close_pairs=None)
    close_before, close_after = (earlier.after.close_pairs + count for count in linked.close)
    return replace(before, close_pairs=close_before), replace(after, close_pairs=close_after)


def _changes(
    old: LinkRecord,
    initial_sets: np.ndarray,
    identity: np.ndarray,
    fate: tuple[pd.Categorical, np.ndarray, np.ndarray, np.ndarray],
) -> pd.DataFrame:
    """The table of changes that `extend` returns.

    Args:
        old: the earlier links, of m nodes.
        initial_sets: int [n], the set that each of all n nodes began in.
        identity: int64 [n], of all nodes.
        fate: of all nodes, as `describe_fates`.
    """
    action, other, distance, probability = fate
    # For each identity of level 2 its first node speaks.
    first = np.unique(old.video_identity, return_index=True)[1]
    set_of_first = initial_sets[first]
    identities_in_set = np.bincount(set_of_first, minlength=len(old.video_identity))
    was_alone = identities_in_set[set_of_first] == 1
    renamed = identity[first] != old.identity[first]
    joined_now = was_alone & (action[first] == "linked")
    changed = first[renamed | joined_now]
    columns = {
        "video_identity": old.video_identity[changed],
        "action": action[changed],
        "other": other[changed],
        "distance": distance[changed],
        "probability": probability[changed],
        "from": old.identity[changed],
        "to": identity[changed],
    }
    return pd.DataFrame(columns)


def _rule(settings: Settings, dim: int, saved: Path | None = None) -> LinkingRule:
    """The rule that the settings name, with its own settings, for features of `dim` numbers."""
    sizes = {"all": None, "auto": sliding_range.largest_fitting(dim)}
    size = sizes.get(settings.range, settings.range)
    stride = None if settings.stride == "auto" else settings.stride
    rule = RULES.named(settings.linking)
    own_settings = settings.settings(settings.linking)
    return rule(own_settings, Range(size, stride), saved)


def _lowest_in_set(sets: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The lowest number in each node's set.

    Args:
        sets: int [n], the set of each node, named by one of its nodes.
        numbers: int64 [n], a number of each node.

    Returns:
        int64 [n].
    """
    lowest = np.full(len(numbers), np.iinfo(np.int64).max)
    np.minimum.at(lowest, sets, numbers)
    return lowest[sets]


def describe_fates(
    video_identity: np.ndarray, initial_sets: np.ndarray, linked: LinkingResult
) -> tuple[pd.Categorical, np.ndarray, np.ndarray, np.ndarray]:
    """The fate of each node: that of the first merge of the set in which the node begins.

    Args:
        video_identity: int64 [n], the identity of level 2 of each node.
        initial_sets: int [n], the lowest node of the set that each begins in.
        linked: what the rule linked.

    Returns:
        Action, other (identity, -1: none), distance, probability of each node.
    """
    count = len(video_identity)
    is_linked = np.zeros(count, bool)
    other = np.full(count, -1)
    distance, probability = np.full((2, count), np.nan)
    probabilities = linked.merge_probability.tolist()
    for (i, j, apart), likely in zip(linked.merges, probabilities, strict=True):
        for node, mate in ((i, j), (j, i)):
            if is_linked[node]:
                continue
            is_linked[node] = True
            other[node] = video_identity[mate]
            distance[node] = apart
            probability[node] = likely
    codes = np.where(is_linked, ACTIONS.index("linked"), ACTIONS.index("kept"))
    action = pd.Categorical.from_codes(codes[initial_sets], ACTIONS)
    return action, other[initial_sets], distance[initial_sets], probability[initial_sets]
