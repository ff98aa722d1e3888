"""Against the truth, where there is one: pairwise precision, recall and F1, and BCubed.

Everything is counted over the crops that the extract stage gave. A crop that a level dropped is
predicted to be with nobody: it makes no predicted pair, but its true pairs stay in the recall, so
dropping shows. A crop that shows no person of the truth (background, a torn box) is a distractor of
its own: alone it harms nobody, linked it is a false pair.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from cion_core.denoise.cannot_link import iou, most_common_labels

# A crop shows the person of a true box that it overlaps by at least this IoU.
OVERLAP = 0.5
CORNERS = ["x1", "y1", "x2", "y2"]


def find_people(crops: pd.DataFrame, truth: pd.DataFrame) -> np.ndarray:
    """Who is on each crop: the person of the visible true box of its frame with the best IoU.

    Args:
        crops: video, frame, x1 y1 x2 y2.
        truth: a tables.Truth.

    Returns:
        int64 [N]. Crops that overlap no box by OVERLAP get numbers -1, -2, ... of their own.
    """
    # 1. Every crop beside every visible box of its frame.
    boxes = crops[["video", "frame", *CORNERS]].assign(row=np.arange(len(crops)))
    visible = truth[truth.visible > 0]
    pairs = boxes.merge(visible, on=["video", "frame"], suffixes=("", "_true"))
    true_corners = [f"{corner}_true" for corner in CORNERS]
    pairs["iou"] = iou(pairs[CORNERS].to_numpy(float), pairs[true_corners].to_numpy(float))

    # 2. The best box of each crop; of equal ones that of the lowest person, so that the order of
    # the truth's rows does not matter.
    fitting = pairs[pairs.iou >= OVERLAP]
    ranked = fitting.sort_values(["row", "iou", "person"], ascending=[True, False, True])
    best = ranked.drop_duplicates("row")

    person = -1 - np.arange(len(crops), dtype=np.int64)
    person[best.row.to_numpy()] = best.person
    return person


def scores(precision: float, recall: float) -> dict[str, float]:
    """Precision, recall and F1 as fractions."""
    total = precision + recall
    f1 = 2 * precision * recall / total if total else 0.0
    return {"precision": round(precision, 5), "recall": round(recall, 5), "f1": round(f1, 5)}


def count_pairs(*columns: np.ndarray) -> int:
    """Count the pairs of rows that agree in all columns, each [N]."""
    table = pd.DataFrame(dict(enumerate(columns)))
    sizes = table.value_counts(sort=False).to_numpy(np.int64)
    pairs = sizes * (sizes - 1) // 2
    return int(pairs.sum())


def pairwise(
    labels: np.ndarray, persons: np.ndarray, videos: np.ndarray | None = None
) -> dict[str, float]:
    """Pairwise precision, recall and F1.

    Without any predicted pair precision is 1, and without any true pair recall is 1.

    Args:
        labels: int [N], the predicted identity, -1: with nobody.
        persons: int [N], the true one.
        videos: [N]; if given, only pairs that lie in two videos are counted.
    """
    has_identity = labels >= 0
    own_labels, own_persons = labels[has_identity], persons[has_identity]
    predicted = count_pairs(own_labels)
    right = count_pairs(own_labels, own_persons)
    true = count_pairs(persons)
    if videos is not None:
        own_videos = videos[has_identity]
        predicted -= count_pairs(own_labels, own_videos)
        right -= count_pairs(own_labels, own_persons, own_videos)
        true -= count_pairs(persons, videos)
    precision = right / predicted if predicted else 1.0
    recall = right / true if true else 1.0
    return scores(precision, recall)


def bcubed(labels: np.ndarray, persons: np.ndarray) -> dict[str, float]:
    """BCubed (Bagga and Baldwin 1998).

    Precision is the mean over crops that have an identity, recall over all crops.

    Args:
        labels: int [N], the predicted identity, -1: with nobody.
        persons: int [N], the true one.
    """
    has_identity = labels >= 0
    table = pd.DataFrame({"label": labels, "person": persons})
    # For each crop: how many share its identity and person, its identity, its person.
    both = table.groupby(["label", "person"]).label.transform("size").to_numpy(float)
    same_label = table.groupby("label").label.transform("size").to_numpy(float)
    same_person = table.groupby("person").label.transform("size").to_numpy(float)
    both[~has_identity] = 1.0  # a dropped crop is with itself alone

    right_of_identity = (both / same_label)[has_identity]
    found_of_person = both / same_person
    precision = float(right_of_identity.mean()) if len(right_of_identity) else 1.0
    recall = float(found_of_person.mean()) if len(found_of_person) else 1.0
    return scores(precision, recall)


def against_truth(
    crops: pd.DataFrame, labels: np.ndarray, persons: np.ndarray
) -> dict[str, dict[str, float]]:
    """All figures of one labelling.

    A tracklet's person is that of most of its crops, its identity the one that holds most of them.

    Args:
        crops: N of them: tracklet, video.
        labels: int64 [N], the predicted identity, -1: with nobody.
        persons: int64 [N], the true one.

    Returns:
        Scores over `crops`, `tracklets`, tracklets of two videos (`cross_video`), and `bcubed`.
    """
    tracklets = crops.tracklet.to_numpy()
    identity = most_common_labels(tracklets, labels)
    person_of = _person_of_tracklets(tracklets, persons)
    person = person_of.reindex(identity.index).to_numpy()
    video_of = crops.groupby("tracklet").video.first()
    video_code = pd.factorize(video_of.reindex(identity.index))[0]
    return {
        "crops": pairwise(labels, persons),
        "tracklets": pairwise(identity.to_numpy(), person),
        "cross_video": pairwise(identity.to_numpy(), person, video_code),
        "bcubed": bcubed(labels, persons),
    }


def _person_of_tracklets(tracklets: np.ndarray, persons: np.ndarray) -> pd.Series:
    """The person of most crops of each tracklet; of equally many the highest number.

    The numbers of crops of nobody are negative, so of as many crops of a person and of nobody the
    person counts. (`find_people` takes the lowest person among equal boxes: those are all people.)
    """
    votes = pd.DataFrame({"tracklet": tracklets, "person": persons}).value_counts()
    ranked = votes.rename("n").reset_index()
    ranked = ranked.sort_values(["tracklet", "n", "person"], ascending=[True, False, False])
    return ranked.drop_duplicates("tracklet").set_index("tracklet").person
