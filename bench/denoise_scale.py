"""Time and memory of denoising at LUPerson-NL's shape.

python bench/denoise_scale.py --crops 100000 1000000

Tracklets and videos are as many for the crops as there (10.7 M, 434 k, 21.7 k). Prints for each
part the seconds, the rate and the largest RssAnon (memory that is no file's), level 1 beside one
plain pass over the same features, and over several sizes the exponent with which time grows. The
features are written to a temporary folder, and deleted.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from cion_core import tables
from cion_core.denoise import Settings, cannot_link, pipeline
from cion_core.denoise.checks import checked
from cion_core.neighbours.arrays import BLOCK, centroids

TRACKLETS, VIDEOS = 434 / 10_700, 21.7 / 10_700  # for each crop
TOGETHER = 3  # people in view at a time
# Shares of tracklets that continue the one before, and of crops of somebody else in the video.
FRAGMENTS, FOREIGN = (0.2, 0.05)


def simulate(crops: int, dim: int, folder: Path, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """A table of `crops` crops by video and tracklet, and their features, a float16 memmap."""
    rng = np.random.default_rng(seed)
    n, videos = round(crops * TRACKLETS), max(1, round(crops * VIDEOS))
    video = np.sort(
        np.append(np.arange(videos), rng.choice(videos, n - videos, p=_shares(videos, rng)))
    )
    size = 2 + rng.multinomial(crops - 2 * n, _shares(n, rng))
    person = rng.integers(max(n // 4, 1), size=n)
    follows = np.append(False, (video[1:] == video[:-1]) & (rng.random(n - 1) < FRAGMENTS))
    person[follows] = person[np.flatnonzero(follows) - 1]
    length = np.bincount(video, size) / TOGETHER
    begin = (rng.random(n) * length[video]).astype(np.int64)
    begin[follows] = (begin + size)[np.flatnonzero(follows) - 1] + 2
    of = np.repeat(np.arange(n), size)
    x = 50.0 * (of % 40)
    table = pd.DataFrame(
        {
            "crop": np.arange(crops),
            "video": pd.Series(np.char.mod("v%06d", np.arange(videos)), dtype="str")
            .take(video[of])
            .to_numpy(),
            "frame": begin[of] + np.arange(crops) - (np.cumsum(size) - size)[of],
            "tracklet": of,
            "x1": x,
            "y1": 0.0,
            "x2": x + 40,
            "y2": 100.0,
        }
    )
    shown = of.copy()
    foreign = np.flatnonzero(rng.random(crops) < FOREIGN)
    other = np.minimum(foreign + rng.integers(1, 200, len(foreign)), crops - 1)
    shown[foreign] = np.where(video[of[other]] == video[of[foreign]], of[other], of[foreign])
    features = np.lib.format.open_memmap(folder / "features.npy", "w+", np.float16, (crops, dim))
    for start in range(0, crops, 1 << 16):
        tracklets = shown[start : start + (1 << 16)]
        look = rng.standard_normal((len(tracklets), dim), np.float32)
        look *= 0.6
        for numbers, scale in ((person[tracklets], 1.0), (person.size + tracklets, 0.4)):
            names, at = np.unique(numbers, return_inverse=True)
            own = np.stack(
                [np.random.default_rng(int(k)).standard_normal(dim, np.float32) for k in names]
            )
            look += scale * own[at]
        features[start : start + (1 << 16)] = look / np.linalg.norm(look, axis=1, keepdims=True)
    features.flush()
    return table, np.load(folder / "features.npy", mmap_mode="r")


def _shares(n: int, rng: np.random.Generator) -> np.ndarray:
    """Of `n` parts of a whole, some much larger than others."""
    shares = rng.lognormal(0, 0.7, n)
    return shares / shares.sum()


def plain_pass(features: np.ndarray) -> np.ndarray:
    """Read all features and compare each with one centroid, and nothing else."""
    centroid = np.asarray(features[0], np.float32)
    out = np.empty(len(features), np.float32)
    for start in range(0, len(features), BLOCK):
        values = np.asarray(features[start : start + BLOCK], np.float32)
        out[start : start + BLOCK] = np.einsum("nd,d->n", values, centroid)
    return out


def cannot_links(crops: pd.DataFrame, labels: np.ndarray) -> sparse.csr_matrix:
    """As level 3 asks for them."""
    return cannot_link.forbidden_pairs(crops, labels, cannot_link.crop_pairs(crops))


def resident() -> float:
    """RssAnon of this process now, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) / 1024


class Clock:
    """Runs the parts one after another, and keeps what each took."""

    def __init__(self, crops: int) -> None:
        self.crops, self.rows = crops, []

    def __call__(self, part: str, work: Callable[..., Any], *arguments: Any) -> Any:
        gc.collect()
        before, peak, done = resident(), [resident()], threading.Event()

        def watch() -> None:
            while not done.wait(0.02):
                peak.append(resident())

        watcher = threading.Thread(target=watch)
        watcher.start()
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            result = work(*arguments)
        finally:
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            done.set()
            watcher.join()
        self.rows.append(
            {
                "crops": self.crops,
                "part": part,
                "seconds": wall,
                "cpu": cpu,
                "crops/s": round(self.crops / wall),
                "MB before": before,
                "MB more": max(peak) - before,
            }
        )
        print(
            pd.DataFrame(self.rows[-1:])
            .round(2)
            .to_string(index=False, header=len(self.rows) == 1),
            flush=True,
        )
        return result


def parts(crops: int, dim: int, folder: Path, sizes: list[str]) -> list[dict]:
    """Every part of denoising `crops` crops.

    Level 3 runs with each Sliding Range of `sizes`: a number, or all.
    """
    clock = Clock(crops)
    table, features = clock("simulate", simulate, crops, dim, folder)
    kept, unit = clock("checks", checked, table, features)
    # The level is not the first to touch the file.
    clock("plain pass: read, and dot with a centroid", plain_pass, features)
    del table
    tracklets, settings, given = (
        kept.tracklet.to_numpy(np.int64),
        Settings(),
        Settings(radius={"tracklet": 0.3}),
    )
    one = clock(
        "level 1, radius given", pipeline.run_level, "tracklet", kept, unit, tracklets, given
    )
    one = clock(
        "level 1, calibrated", pipeline.run_level, "tracklet", kept, unit, tracklets, settings
    )
    clock("ledger 1 to disk", tables.write, tables.Ledger, one.ledger, folder / "ledger.parquet")
    labels = one.labels
    print({k: one.audit(kept)[k] for k in ("crops", "identities", "radius", "actions")}, flush=True)
    del one
    two = clock("level 2, calibrated", pipeline.run_level, "video", kept, unit, labels, settings)
    clock("ledger 2 to disk", tables.write, tables.Ledger, two.ledger, folder / "ledger.parquet")
    print(
        {k: two.audit(kept)[k] for k in ("crops", "identities", "radius", "separation", "actions")},
        flush=True,
    )
    labels = two.labels
    del two
    names, groups = np.unique(labels, return_inverse=True)
    clock(
        "centroids of identities",
        centroids,
        unit,
        groups - (names[0] < 0),
        len(names) - (names[0] < 0),
    )
    clock("cannot-links of identities", cannot_links, kept, labels)
    for size in sizes:
        chosen = Settings(range=size if size == "all" else int(size))
        three = clock(
            f"level 3, range {size}", pipeline.run_level, "cross_video", kept, unit, labels, chosen
        )
        print(
            {k: three.audit(kept)[k] for k in ("identities", "separation", "actions")}, flush=True
        )
        del three
    return clock.rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=int, nargs="+", default=[100_000])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument(
        "--range", nargs="+", default=[], help="level 3 as well, with these Sliding Ranges, or all"
    )
    options = parser.parse_args()
    rows = []
    for crops in options.crops:
        with tempfile.TemporaryDirectory() as folder:
            rows += parts(crops, options.dim, Path(folder), options.range)
    table = pd.DataFrame(rows).pivot_table("seconds", "part", "crops", sort=False)
    plain, simulated = table.index[2], table.index[0]
    table.loc["all but simulating and the plain pass"] = table.drop([plain, simulated]).sum()
    if len(options.crops) > 1:
        table["exponent"] = [
            np.polyfit(np.log(options.crops), np.log(row), 1)[0] for row in table.to_numpy()
        ]
    ratio = table.loc["level 1, radius given"] / table.loc[plain]
    print(table.round(2).to_string())
    print("level 1 takes so many times the plain pass:", ratio[options.crops].round(2).to_dict())


if __name__ == "__main__":
    main()
