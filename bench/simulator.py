"""A feature-space simulator of tracklets: people, cameras, videos, and trackers' mistakes.

Depends on nothing of cion_core. Its difficulty is set so that the rules of bench/linking.py land
near the scores that they have on a real benchmark cut into tracklets (published 0.15, DBSCAN 0.44,
average linkage 0.6 in F1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Simulated:
    """Crops and their features, float32 [N, D].

    `crops` has the columns crop, video, frame, tracklet, person (-1: a distractor).
    """

    crops: pd.DataFrame
    features: np.ndarray


def simulate(
    people: int = 240,
    cameras: int = 6,
    sequences: int = 4,
    per_person: float = 7.0,
    crops: int = 8,
    dim: int = 64,
    view: float = 0.75,
    tail: float = 0.75,
    offset: float = 0.6,
    jitter: float = 0.45,
    switches: float = 0.05,
    strangers: float = 0.05,
    distractors: float = 0.05,
    seed: int = 0,
) -> Simulated:
    """People walk through `cameras` x `sequences` videos, `per_person` tracklets each on average.

    view: size of what a person's look changes with camera (two facings); tail: scale of a
    tracklet's heavy-tailed (Student t, 3 degrees) deviation; offset: size of each video's own mean;
    jitter: of each crop. switches: share of tracklets that go over to another person of the video
    half way; strangers: share of crops swapped between tracklets of a video; distractors: share of
    tracklets that show nobody.
    """
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal((*shape, dim)).astype(np.float32) / np.sqrt(dim)

    looks = (
        normal(max(4, people // 8))[rng.integers(0, max(4, people // 8), people)] * 0.8
        + normal(people) * 0.9
    )
    facing = normal(people, 2) * view + normal(2) * view
    videos = cameras * sequences
    gain = 1 + 0.25 * rng.standard_normal((cameras, dim)).astype(np.float32)
    mean = np.repeat(normal(cameras), sequences, 0) * offset + normal(videos) * offset * 0.5

    # `gone`: the frame at which a person has left a video.
    rows, features, tracklet, gone = ([], [], 0, {})
    for person in range(-int(people * distractors), people):
        for _ in range(1 + rng.poisson(per_person - 1) if person >= 0 else int(per_person)):
            video = int(rng.integers(videos))
            base = (
                looks[person] + facing[person, rng.integers(2)] if person >= 0 else 1.4 * normal()
            )
            deviation = tail * normal() * np.sqrt(3 / rng.chisquare(3))
            n = max(2, rng.poisson(crops))
            noise = jitter * normal(n) * np.sqrt(4 / rng.chisquare(4, n))[:, None]
            features.append(gain[video // sequences] * (base + deviation + noise) + mean[video])
            begin = gone.get((person, video), 0) + int(rng.integers(0, 10 * people // videos + 20))
            gone[person, video] = begin + n + 1
            rows.append(
                pd.DataFrame(
                    {
                        "video": f"c{video // sequences}/s{video % sequences}",
                        "frame": 3 * (begin + np.arange(n)),
                        "tracklet": tracklet,
                        "person": max(person, -1),
                    }
                )
            )
            tracklet += 1
    table = pd.concat(rows, ignore_index=True)
    table.insert(0, "crop", np.arange(len(table)))
    return Simulated(table, _mistakes(table, np.concatenate(features), switches, strangers, rng))


def _mistakes(
    table: pd.DataFrame,
    features: np.ndarray,
    switches: float,
    strangers: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Exchange crops between tracklets of a video: halves, and single ones.

    Features move, and person and frame in `table`.
    """
    source = np.arange(len(table))
    for _, rows in table.groupby("video").indices.items():
        tracklets = table.tracklet.to_numpy()[rows]
        for one in rng.permutation(np.unique(tracklets))[
            : int(switches * len(np.unique(tracklets)) / 2 + rng.random())
        ]:
            other = rng.choice(np.unique(tracklets))
            a, b = rows[tracklets == one], rows[tracklets == other]
            n = min(len(a), len(b)) // 2
            a, b = a[len(a) - n :], b[len(b) - n :]
            source[a], source[b] = source[b], source[a]
        chosen = rng.permutation(rows)[: int(strangers * len(rows))]
        source[chosen] = np.roll(source[chosen], 1)
    table[["person", "frame"]] = table[["person", "frame"]].to_numpy()[source]
    return features[source]
