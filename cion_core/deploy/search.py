"""Who in a gallery looks most like a query, and whether anybody does.

"Nobody" is an answer where a threshold was learnt. On a labelled benchmark it is measured how near
the nearest image comes when the person is not in the gallery. In a larger gallery somebody comes
nearer by chance, so the threshold depends on the gallery's size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cion_core import image_files
from cion_core.benchmark import stage as benchmark_stage
from cion_core.benchmark.labels import DISTRACTOR, JUNK, Labels
from cion_core.benchmark.layouts import LAYOUTS
from cion_core.deploy import features, named_images
from cion_core.embed.embedders.base import Embedder
from cion_core.embed.model import load_embedder
from cion_core.errors import CionError
from cion_core.evaluate.metrics import cosine_distances
from cion_core.image_files import ImageFolder
from cion_core.zoo import card as cards

# The share of queries whose person is not in the gallery that find somebody nevertheless.
FALSE_ALARMS = 0.05
# Where the threshold stands in a card's `extra`.
CARD_KEY = "threshold"


@dataclass(frozen=True)
class Answer:
    """The images of a gallery that are nearest to a query.

    Attributes:
        query: the image that was searched for.
        paths: the gallery's images, nearest first.
        distances: their cosine distances, float [n].
        limit: the distance from which on an image is of somebody else; None where no threshold was
            learnt.
    """

    query: Path
    paths: list[Path]
    distances: np.ndarray
    limit: float | None

    @property
    def nobody(self) -> bool:
        """Whether even the nearest image is too far."""
        return self.limit is not None and self.distances[0] > self.limit


def learn_threshold(embedder: Embedder, benchmark: Path, layout: str = "market1501") -> dict:
    """Learn a threshold for every size of gallery.

    Args:
        embedder: the model.
        benchmark: a folder of labelled people.
        layout: how the folder is laid out.

    Returns:
        What a card's extra holds: as `find_thresholds`, and the benchmark's name.
    """
    labelled = benchmark_stage.read_layout(LAYOUTS.named(layout)(), benchmark)
    images, unused = benchmark_stage.examine_images(labelled, ImageFolder(benchmark, []))
    image_files.tell("export", unused)
    embedded = {}
    people = {}
    for split in ("query", "gallery"):
        part = images[images.split == split]
        paths = part.path.map(Path).to_list()
        digests = part.sha256.to_list()
        embedded[split] = features.embed_files(embedder, paths, digests, f"threshold: {split}")
        people[split] = Labels.of(part)
    distances = cosine_distances(embedded["query"], embedded["gallery"])
    found = find_thresholds(distances, people["query"], people["gallery"])
    return {**found, "benchmark": Path(benchmark).resolve().name}


def find_thresholds(distances: np.ndarray, query: Labels, gallery: Labels) -> dict:
    """Find thresholds from distances alone.

    Args:
        distances: of queries to gallery images, [Q, G].
        query: of the queries.
        gallery: of the gallery images.

    Returns:
        `gallery`, some sizes; `distance`, the cosine distance for each of them below which the
        share `false_alarms` of queries finds somebody among so many random images of other people;
        `found`, the share of queries that find their own person, under another camera, below the
        last of them.

    Raises:
        CionError: a query has no other people in the gallery, or no query has its own person.
    """
    # The order in which other people are met is random, and the same at each call.
    rng = np.random.default_rng(0)
    # For each query, entry n: how near the nearest of n + 1 images of other people comes.
    nearest_by_count = []
    nearest_own = []
    for row in range(len(query)):
        is_same = gallery.person == query.person[row]
        is_other = ~is_same & (gallery.person != JUNK)
        met = rng.permutation(distances[row, is_other])
        nearest_by_count.append(np.minimum.accumulate(met))
        is_other_camera = gallery.camera != query.camera[row]
        is_own = is_same & is_other_camera & (gallery.person > DISTRACTOR)
        if is_own.any():
            nearest_own.append(distances[row, is_own].min())
    largest = min(map(len, nearest_by_count))
    if largest < 1 or not nearest_own:
        need = "other people, and some query's person"
        raise CionError(f"threshold: the benchmark's gallery needs {need}")

    # 1, 2, 4, ..., and the largest.
    powers = range(largest.bit_length() + 1)
    sizes = sorted({min(2**power, largest) for power in powers})
    limits = []
    for size in sizes:
        nearest = [by_count[size - 1] for by_count in nearest_by_count]
        limits.append(float(np.quantile(nearest, FALSE_ALARMS)))
    share_found = float(np.mean(np.array(nearest_own) <= limits[-1]))
    return {
        "false_alarms": FALSE_ALARMS,
        "gallery": sizes,
        "distance": limits,
        "found": round(share_found, 4),
    }


def find_limit(threshold: dict, size: int) -> float:
    """The threshold for a gallery of `size` images.

    Between learnt sizes it goes by their logarithm. Beyond them it is that of the last size.
    """
    log_sizes = np.log(threshold["gallery"])
    return float(np.interp(np.log(size), log_sizes, threshold["distance"]))


def search(query: Path, gallery: Path, model: Path, top: int = 10) -> Answer:
    """Find the images of a gallery folder that are nearest to a query image.

    Damaged images of the gallery are set aside, with a message.

    Args:
        query: an image.
        gallery: a folder of images, at any depth.
        model: a model folder.
        top: how many to find.

    Raises:
        CionError: the query is no image, the gallery holds none but it, or the model cannot be
            read.
    """
    if query.is_dir():
        raise CionError(f"{query}: it is a folder; name one image")
    if not gallery.is_dir():
        fault = "it is a file" if gallery.exists() else "no such folder"
        raise CionError(f"{gallery}: {fault}; name a folder of images")
    embedder = load_embedder(model, features.SMALL_BATCHES)
    # The query comes first, so that its errors are told before the gallery's.
    query_feature = features.embed_files(embedder, [query], [_check_query(query)], "query")

    found = named_images.find_images([gallery], "search")
    digests = {}
    for path, digest in zip(found.paths, found.digests, strict=True):
        if path.resolve() != query.resolve():
            digests[path] = digest
    if not digests:
        raise CionError(f"{gallery}: no image but the query")
    paths = list(digests)
    gallery_features = features.embed_files(embedder, paths, list(digests.values()), "gallery")
    distances = cosine_distances(query_feature, gallery_features)[0]
    nearest = np.argsort(distances, kind="stable")[:top]
    threshold = cards.read_json(embedder.folder).get("extra", {}).get(CARD_KEY)
    limit = find_limit(threshold, len(paths)) if threshold else None
    return Answer(query, [paths[row] for row in nearest], distances[nearest], limit)


def _check_query(query: Path) -> str:
    """The SHA-256 of the query's bytes, once a worker process has looked at them.

    Raises:
        CionError: the query is no image, or it is damaged.
    """
    (digest,), reasons = image_files.examine([query], "query")
    if digest is None:
        raise CionError(f"{query}: {reasons[str(query)]}; replace or remove it")
    return digest
