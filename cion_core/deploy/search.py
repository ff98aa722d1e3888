"""Who in a gallery looks most like a query, and whether anybody does.

"Nobody" is an answer where a threshold was learnt: on a labelled benchmark, how near comes the nearest image when the
person is not in the gallery? The larger the gallery, the nearer, so the threshold depends on the gallery's size.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cion_core import image_files
from cion_core.benchmark import stage as benchmarks
from cion_core.benchmark.labels import DISTRACTOR, JUNK, Labels, labels
from cion_core.benchmark.layouts import LAYOUTS
from cion_core.deploy import crops, features
from cion_core.embed.embedders.base import Embedder
from cion_core.embed.model import load_embedder
from cion_core.errors import CionError, printable
from cion_core.evaluate.metrics import cosine_distances
from cion_core.image_files import ImageFolder
from cion_core.images import read_image
from cion_core.zoo import card as cards

FALSE_ALARMS = 0.05  # of queries whose person is not there that find somebody
KEY = "threshold"  # in the card's extra


@dataclass(frozen=True)
class Answer:
    """The gallery's nearest images, `paths` with their cosine `distances`; `limit` is the distance from which on they
    are somebody else, None where none was learnt."""

    query: Path
    paths: list[Path]
    distances: np.ndarray
    limit: float | None

    @property
    def nobody(self) -> bool:
        """Whether even the nearest is too far."""
        return self.limit is not None and self.distances[0] > self.limit


def learn(embedder: Embedder, benchmark: Path, layout: str = "market1501") -> dict:
    """A threshold for every size of gallery, from a labelled set in a layout: what a card's extra holds.

    `gallery` are sizes, and `distance` the cosine distances below which FALSE_ALARMS of the benchmark's queries find
    somebody among so many random images of other people. `found` is the share of queries that find their own person,
    under another camera, below the last of them.
    """
    labelled = benchmarks.read(LAYOUTS.named(layout)(), benchmark)
    images, unused = benchmarks.whole(labelled, ImageFolder(benchmark, []))
    image_files.tell("export", unused)
    parts = {split: images[images.split == split] for split in ("query", "gallery")}
    known = {
        split: features.of(embedder, part.path.map(Path).to_list(), part.sha256.to_list(), f"threshold: {split}")
        for split, part in parts.items()
    }
    who = {split: labels(part) for split, part in parts.items()}
    return thresholds(cosine_distances(known["query"], known["gallery"]), who["query"], who["gallery"]) | {
        "benchmark": Path(benchmark).resolve().name
    }


def thresholds(distance: np.ndarray, query: Labels, gallery: Labels) -> dict:
    """`learn` from distances [Q, G] alone. The order in which other people are met is random, and always the same."""
    rng = np.random.default_rng(0)
    nearest, right = [], []
    for row in range(len(query)):
        same = gallery.person == query.person[row]
        others = distance[row, ~same & (gallery.person != JUNK)]
        nearest.append(np.minimum.accumulate(rng.permutation(others)))
        own = distance[row, same & (gallery.camera != query.camera[row]) & (gallery.person > DISTRACTOR)]
        if len(own):
            right.append(own.min())
    most = min(map(len, nearest))
    if most < 1 or not right:
        raise CionError("threshold: the benchmark's gallery needs other people, and some query's person")
    sizes = sorted({min(2**power, most) for power in range(most.bit_length() + 1)})
    limits = [float(np.quantile([found[size - 1] for found in nearest], FALSE_ALARMS)) for size in sizes]
    found = float(np.mean(np.array(right) <= limits[-1]))
    return {"false_alarms": FALSE_ALARMS, "gallery": sizes, "distance": limits, "found": round(found, 4)}


def limit(threshold: dict, size: int) -> float:
    """The threshold for a gallery of `size` images: between learnt sizes by their logarithm, beyond them the last."""
    return float(np.interp(np.log(size), np.log(threshold["gallery"]), threshold["distance"]))


def search(query: Path, gallery: Path, model: Path, top: int = 10) -> Answer:
    """The `top` images of a gallery folder that are nearest to a query image, nearest first.

    Damaged images of the gallery are set aside, and said.

    Raises:
        CionError: the query is no image, the gallery holds none but it, or the model cannot be read.
    """
    if query.is_dir():
        raise CionError(f"{query}: it is a folder; name one image")
    if not gallery.is_dir():
        raise CionError(
            f"{gallery}: {'it is a file' if gallery.exists() else 'no such folder'}; name a folder of images"
        )
    embedder = load_embedder(model, features.FEW)
    wanted = features.of(embedder, [query], [_digest_of(query)], "query")  # its errors are told before the gallery's
    found = crops.files([gallery], "search")
    others = {
        path: digest
        for path, digest in zip(found.paths, found.digests, strict=True)
        if path.resolve() != query.resolve()
    }
    if not others:
        raise CionError(f"{gallery}: no image but the query")
    paths = list(others)
    distances = cosine_distances(wanted, features.of(embedder, paths, list(others.values()), "gallery"))[0]
    order = np.argsort(distances, kind="stable")[:top]
    learnt = cards.read_json(embedder.folder).get("extra", {}).get(KEY)
    until = limit(learnt, len(paths)) if learnt else None
    return Answer(query, [paths[row] for row in order], distances[order], until)


def _digest_of(query: Path) -> str:
    """SHA-256 of the query's bytes, once a worker process has looked at them."""
    (digest,), reasons = image_files.examine([query], "query")
    if digest is None:
        raise CionError(f"{query}: {reasons[str(query)]}; replace or remove it")
    return digest


def text(answer: Answer) -> str:
    """The ranked list for a terminal."""
    lines = [
        f"{rank:>4}  {distance:.4f}  {printable(path)}"
        for rank, (path, distance) in enumerate(zip(answer.paths, answer.distances, strict=True), start=1)
    ]
    return "\n".join((verdict(answer), *lines))


def verdict(answer: Answer) -> str:
    """One line: somebody, nobody, or that it is not known."""
    if answer.limit is None:
        return "no threshold was learnt for this model: the nearest images, whether or not anybody is there"
    within = int((answer.distances <= answer.limit).sum())
    if answer.nobody:
        return f"nobody here: the nearest image is farther than {answer.limit:.4f}"
    return f"somebody here: {within} of these images are nearer than {answer.limit:.4f}"


def page(answer: Answer) -> str:
    """The ranked list as one HTML page, pictures included."""
    from cion_core.report.sheets import picture  # plots and tables load with it

    def figure(path: Path, caption: str, far: bool = False) -> str:
        shown = f'<img src="{picture(read_image(path))}" alt="">'
        below = html.escape(printable(caption))
        return f"<figure{' class=far' if far else ''}>{shown}<figcaption>{below}</figcaption></figure>"

    found = [
        figure(path, f"{rank} · {distance:.3f} · {path.name}", answer.limit is not None and distance > answer.limit)
        for rank, (path, distance) in enumerate(zip(answer.paths, answer.distances, strict=True), start=1)
    ]
    return PAGE.format(
        title=html.escape(verdict(answer)), query=figure(answer.query, answer.query.name), found="".join(found)
    )


PAGE = """<!doctype html><meta charset="utf-8"><title>{title}</title>
<style>body{{font:14px sans-serif;margin:2em}}section{{display:flex;flex-wrap:wrap;gap:12px}}figure{{margin:0}}
figcaption{{font-size:11px;max-width:112px;overflow-wrap:anywhere}}.far{{opacity:.35}}</style>
<h1>{title}</h1><h2>Query</h2>{query}<h2>Nearest first</h2><section>{found}</section>
"""
