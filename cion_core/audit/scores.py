"""Against the truth, where there is one: pairwise precision, recall and F1, and BCubed.

Everything is counted over the crops that the extract stage gave. A crop that a level dropped is predicted to be with
nobody: it makes no predicted pair, but its true pairs stay in the recall, so dropping shows. A crop that shows no
person of the truth (background, a torn box) is a distractor of its own: alone it harms nobody, linked it is a
false pair.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from cion_core.denoise.cannot_link import homes, iou

OVERLAP = 0.5


def people(crops: pd.DataFrame, truth: pd.DataFrame) -> np.ndarray:
    """The person of each crop, int64 [N]: best IoU with a visible true box of its frame, at least 0.5.

    crops: video, frame, x1 y1 x2 y2; truth: tables.Truth. Crops of nobody get numbers -1, -2, ... of their own.
    """
    left = crops[["video", "frame", "x1", "y1", "x2", "y2"]].assign(row=np.arange(len(crops)))
    both = left.merge(truth[truth.visible > 0], on=["video", "frame"], suffixes=("", "_true"))
    boxes = both[["x1", "y1", "x2", "y2"]].to_numpy(float), both[[f"{c}_true" for c in ("x1", "y1", "x2", "y2")]]
    both["iou"] = iou(boxes[0], boxes[1].to_numpy(float))
    both = both[both.iou >= OVERLAP].sort_values(["row", "iou", "person"], ascending=[True, False, True])
    best = both.drop_duplicates("row")
    out = -1 - np.arange(len(crops), dtype=np.int64)
    out[best.row.to_numpy()] = best.person
    return out


def scores(precision: float, recall: float) -> dict[str, float]:
    """Precision, recall and F1 as fractions."""
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"precision": round(precision, 5), "recall": round(recall, 5), "f1": round(f1, 5)}


def _cells(*columns: np.ndarray) -> np.ndarray:
    """How many rows share each combination of values, int64 [M]."""
    return pd.DataFrame(dict(enumerate(columns))).value_counts(sort=False).to_numpy(np.int64)


def _pairs(*columns: np.ndarray) -> int:
    """Pairs of rows that agree in all columns."""
    n = _cells(*columns)
    return int((n * (n - 1) // 2).sum())


def pairwise(labels: np.ndarray, persons: np.ndarray, apart: np.ndarray | None = None) -> dict[str, float]:
    """Pairwise precision, recall and F1 of `labels` int [N] (-1: with nobody) against `persons` int [N].

    apart [N]: count only pairs that differ in it (videos). No predicted pair: precision 1; no true pair: recall 1.
    """
    kept = labels >= 0
    columns = [labels[kept], persons[kept]]
    predicted, right, true = _pairs(columns[0]), _pairs(*columns), _pairs(persons)
    if apart is not None:
        predicted -= _pairs(columns[0], apart[kept])
        right -= _pairs(*columns, apart[kept])
        true -= _pairs(persons, apart)
    return scores(right / predicted if predicted else 1.0, right / true if true else 1.0)


def bcubed(labels: np.ndarray, persons: np.ndarray) -> dict[str, float]:
    """BCubed (Bagga and Baldwin 1998): precision is the mean over crops with an identity, recall over all crops."""
    kept = labels >= 0
    table = pd.DataFrame({"label": labels, "person": persons})
    together = table.groupby(["label", "person"]).label.transform("size").to_numpy(float)
    together[~kept] = 1.0  # a dropped crop is with itself alone
    size = table.groupby("label").label.transform("size").to_numpy(float)
    true = table.groupby("person").label.transform("size").to_numpy(float)
    precision = float((together / size)[kept].mean()) if kept.any() else 1.0
    return scores(precision, float((together / true).mean()) if len(labels) else 1.0)


def against_truth(crops: pd.DataFrame, labels: np.ndarray, persons: np.ndarray) -> dict[str, dict[str, float]]:
    """All figures of one labelling: over crops, over tracklets, over tracklets of different videos, and BCubed.

    A tracklet's person is that of most of its crops, its identity the one that holds most of them.
    """
    tracklets = crops.tracklet.to_numpy()
    home = homes(tracklets, labels)
    person = pd.DataFrame({"tracklet": tracklets, "person": persons}).value_counts().rename("n").reset_index()
    person = person.sort_values(["tracklet", "n", "person"], ascending=[True, False, False])
    person = person.drop_duplicates("tracklet").set_index("tracklet").person.reindex(home.index).to_numpy()
    video = pd.factorize(crops.groupby("tracklet").video.first().reindex(home.index))[0]
    return {
        "crops": pairwise(labels, persons),
        "tracklets": pairwise(home.to_numpy(), person),
        "cross_video": pairwise(home.to_numpy(), person, video),
        "bcubed": bcubed(labels, persons),
    }
