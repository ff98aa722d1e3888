"""Evaluation beside fast-reid's, and re-ranking beside the published form.

python bench/evaluation.py [--size msmt17] [--rerank] [--scale 0.5]

Alone: scores of features at Market-1501's size, by ours and by the Cython of fast-reid, which is
built in a temporary folder from its package on PyPI (`fastreid`, its `rank_cy.pyx` as it is, with
Cython of PyPI). They take turns; medians. `--size msmt17`: at MSMT17's size, once each; fast-reid's
in four parts of the queries, as its ranking of all would take 12 GB. `--rerank`: k-reciprocal
re-ranking against the algorithm of Zhong et al. written plainly in NumPy (`published`); at MSMT17's
size, where that would take 140 GB, ours alone. `--scale 0.5`: with half as many people and images.

Memory is the most that a process of its own holds beyond what it held with the features made, and
the result.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from loss import alone, megabytes

from cion_core.benchmark.labels import Labels
from cion_core.evaluate.metrics import query_chunks, score
from cion_core.evaluate.protocol import Distances, score_queries
from cion_core.neighbours.arrays import unit

SIZES = {  # queries, gallery, people, cameras, other people's images in the gallery
    "market": (3368, 19_732, 750, 6, 2793),
    "msmt17": (11_659, 82_161, 3060, 15, 0),
}
DIM, INNER = 2048, 96  # numbers in a feature, and those that it is made of
PACKAGE, VERSION = "fastreid", "1.4.0"


@dataclass(frozen=True)
class World:
    """A benchmark of random features.

    Each comes from a person, a camera, and an image that shows its person well or badly.
    """

    query: np.ndarray
    gallery: np.ndarray
    who: tuple[Labels, Labels]


def world(size: str, scale: float = 1, seed: int = 0) -> World:
    """Features float32 of unit length, by seed; mAP is neither near 0 nor near 100."""
    rng = np.random.default_rng(seed)
    *counts, cameras, strangers = SIZES[size]
    queries, images, people, strangers = (int(scale * n) for n in (*counts, strangers))
    person = np.concatenate(
        (rng.integers(1, people + 1, queries + images - strangers), np.zeros(strangers, int))
    )
    camera = rng.integers(1, cameras + 1, len(person))
    inner = rng.standard_normal((people + 1, INNER))[person]
    inner[person == 0] = rng.standard_normal((strangers, INNER))
    inner += 0.5 * rng.standard_normal((cameras + 1, INNER))[camera]
    inner += rng.uniform(0.4, 2, (len(person), 1)) * rng.standard_normal((len(person), INNER))
    features = unit(inner.astype(np.float32) @ rng.standard_normal((INNER, DIM), np.float32))
    labels = Labels(person, camera)
    return World(
        features[:queries],
        features[queries:],
        (labels[slice(queries)], labels[slice(queries, None)]),
    )


class Clocked(Distances):
    """Cosine distances, and the seconds that the matrix products take."""

    product = 0.0

    def __getitem__(self, rows: slice) -> np.ndarray:
        start = time.perf_counter()
        similarity = self.query[rows] @ self.gallery.T
        self.product += time.perf_counter() - start
        return np.subtract(1, similarity, out=similarity)


def ours(w: World) -> tuple[float, float, float]:
    """Seconds of the products, seconds of all else, and mAP."""
    start, distances = time.perf_counter(), Clocked(w.query, w.gallery)
    found = score_queries(distances, *w.who).summary()["mAP"]
    return distances.product, time.perf_counter() - start - distances.product, found


def fast_reids(w: World, evaluate: Callable, parts: int) -> tuple[float, float, float]:
    """The same of fast-reid's evaluation, `parts` of the queries one after the other."""
    product = after = 0.0
    precision = []
    for rows in np.array_split(np.arange(len(w.query)), parts):
        start = time.perf_counter()
        distance = w.query[rows] @ w.gallery.T
        product += time.perf_counter() - start
        start = time.perf_counter()
        np.subtract(1, distance, out=distance)
        query, gallery = w.who[0][rows], w.who[1]
        _, found, _ = evaluate(
            distance, query.person, gallery.person, query.camera, gallery.camera, 50
        )
        after += time.perf_counter() - start
        precision.append(found)
    return product, after, 100 * float(np.concatenate(precision).mean())


def build(folder: Path) -> None:
    """Put fast-reid's compiled `rank_cy` into a folder."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    exact = f"{PACKAGE}=={VERSION}"
    for command in (
        [*pip, "download", "--no-deps", "--no-binary", ":all:", "-d", str(folder), exact],
        [*pip, "install", "--target", str(folder / "cython"), "cython", "setuptools"],
        [
            "tar",
            "xzf",
            str(folder / f"{PACKAGE}-{VERSION}.tar.gz"),
            "-C",
            str(folder),
            "--strip-components",
            "1",
        ],
    ):
        subprocess.run(command, check=True, capture_output=True)
    source = folder / "fastreid/evaluation/rank_cylib/rank_cy.pyx"
    setup = f"""
import sys; sys.path.insert(0, {str(folder / "cython")!r})
import numpy, setuptools
from Cython.Build import cythonize
extension = setuptools.Extension("rank_cy", [{str(source)!r}], include_dirs=[numpy.get_include()])
setuptools.setup(name="rank_cy", ext_modules=cythonize([extension]), script_args=["build_ext", "-b", {str(folder)!r}])
"""
    subprocess.run([sys.executable, "-c", setup], check=True, capture_output=True, cwd=folder)


def built(folder: str) -> Callable:
    """fast-reid's function from the folder that it was built in."""
    sys.path.insert(0, folder)
    from rank_cy import evaluate_cy

    return evaluate_cy


def published(
    query: np.ndarray, gallery: np.ndarray, k1: int = 20, k2: int = 6, original: float = 0.3
) -> tuple[np.ndarray, float]:
    """Zhong et al., CVPR 2017, sections 3.2 to 3.5, in dense NumPy.

    It gives distances [Q, G] and the seconds of the product.

    Everything is [Q + G, Q + G]: distances, whole ranking lists, vectors (equation 7) and their
    means (equation 11). Jaccard distances (equation 10) go by the images that share a column of a
    query's vector, as the authors' program does; the other choices are those of `rerank.Reranked`.
    """
    x = np.concatenate((query, gallery))
    n, start = len(x), time.perf_counter()
    distance = x @ x.T
    product = time.perf_counter() - start
    np.subtract(1, distance, out=distance)
    np.fill_diagonal(distance, -1)
    # of each list the first places are kept: all of them, int64, would be twice the distances
    ranking = np.concatenate(
        [np.argsort(part, axis=1)[:, : k1 + 1] for part in np.array_split(distance, 16)]
    )
    np.fill_diagonal(distance, 0)

    def reciprocal(image: int, k: int) -> np.ndarray:
        nearest = ranking[image, : k + 1]
        return nearest[(ranking[nearest, : k + 1] == image).any(axis=1)]

    vectors = np.zeros((n, n), np.float32)
    for p in range(n):
        members = base = reciprocal(p, k1)
        for q in base:
            more = reciprocal(q, round(k1 / 2))
            if 3 * len(np.intersect1d(base, more)) >= 2 * len(more):
                members = np.union1d(members, more)
        vectors[p, members] = np.exp(-distance[p, members])
    distance = distance[: len(query), len(query) :].copy()
    means = np.empty_like(vectors)
    for p in range(n):
        means[p] = vectors[ranking[p, :k2]].mean(axis=0)
    del vectors
    having = [np.flatnonzero(means[:, column]) for column in range(n)]
    sums = means.sum(axis=1)
    for p in range(len(query)):
        shared = np.zeros(n, np.float32)
        for column in np.flatnonzero(means[p]):
            images = having[column]
            shared[images] += np.minimum(means[p, column], means[images, column])
        jaccard = 1 - shared / (sums[p] + sums - shared)
        distance[p] = (1 - original) * jaccard[len(query) :] + original * distance[p]
    return distance, product


def reranked(w: World) -> float:
    """mAP of our re-ranked distances, a chunk of queries after the other."""
    return score_queries(Distances(w.query, w.gallery, reranking=True), *w.who).summary()["mAP"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=list(SIZES), default="market")
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--rerank", action="store_true")
    parser.add_argument(
        "--repeat", type=int, default=5, help="turns of scoring at Market-1501's size"
    )
    parser.add_argument(
        "--memory",
        metavar="FORM",
        help="print the megabytes of one form alone: ours, FOLDER, reranked",
    )
    o = parser.parse_args()
    w, parts = world(o.size, o.scale), 4 if o.size == "msmt17" else 1
    if o.memory:
        forms = {"ours": lambda: ours(w), "reranked": lambda: reranked(w)}
        form = forms.get(o.memory) or (lambda: fast_reids(w, built(o.memory), parts))
        print(megabytes(lambda: 0 * bool(form()), torch.device("cpu")))
        return
    print(
        f"{len(w.query)} x {len(w.gallery)}, D = {DIM}; {torch.get_num_threads()} threads",
        flush=True,
    )
    if not o.rerank:
        compare_scores(w, o, parts)
    elif o.size == "market":
        compare_rerank(w)
    else:
        rerank_alone(w)


def compare_scores(w: World, o: argparse.Namespace, parts: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        evaluate = built(folder)
        forms = {
            "ours": lambda: ours(w),
            f"{PACKAGE} {VERSION}": lambda: fast_reids(w, evaluate, parts),
        }
        turns: dict[str, list] = {name: [] for name in forms}
        for _ in range(1 if o.size == "msmt17" else o.repeat):
            for name, form in forms.items():
                turns[name].append(form())
        for name, taken in turns.items():
            product, after, found = (median(column) for column in zip(*taken, strict=True))
            held = alone("ours" if name == "ours" else folder)
            print(
                f"{name}: product {product:.2f} s, after it {after:.2f} s, mAP {found:.4f}, "
                f"{held:.0f} MB",
                flush=True,
            )
    first, second = (median(taken[1] for taken in column) for column in turns.values())
    print(f"after the product: {second / first:.1f} times as fast")


def compare_rerank(w: World) -> None:
    """Ours, the published form, and ours again."""
    took, rows = [], []
    for turn in range(2):
        start, cpu = time.perf_counter(), time.process_time()
        distances = Distances(w.query, w.gallery, reranking=True)
        rows = [distances[part] for part in query_chunks(len(w.query))]
        took.append((time.perf_counter() - start, time.process_time() - cpu))
        if turn == 0:
            start, cpu = time.perf_counter(), time.process_time()
            plain, product = published(w.query, w.gallery)
            literal = time.perf_counter() - start, time.process_time() - cpu
    seconds, work = (sum(column) / len(took) for column in zip(*took, strict=True))
    print(f"ours: {seconds:.1f} s ({work:.1f} s of processors), {alone('reranked'):.0f} MB")
    print(
        f"published: {literal[0]:.1f} s ({literal[1]:.1f} s of processors), {product:.1f} s of it "
        "the product"
    )
    difference = np.abs(np.concatenate(rows) - plain)
    # Rounding puts one or the other of two equally near images into a neighbourhood.
    share = (difference > 1e-5).mean()
    print(
        f"{literal[0] / seconds:.1f} times as fast; distances differ by {difference.max():.1e} at "
        "most",
        end="",
    )
    print(f", by over 1e-5 for {share:.0e} of the pairs")
    for name, of in (
        ("published", score(plain, *w.who)),
        ("ours", score_queries(distances, *w.who)),
    ):
        print(f"mAP {of.summary()['mAP']:.4f} {name}")


def rerank_alone(w: World) -> None:
    found = []
    start = time.perf_counter()
    held = megabytes(lambda: found.append(reranked(w)) or 0, torch.device("cpu"))
    print(
        f"ours, re-ranked and scored: {time.perf_counter() - start:.1f} s, mAP {found[0]:.2f}, "
        f"{held:.0f} MB"
    )


if __name__ == "__main__":
    main()
