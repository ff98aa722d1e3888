"""What adding videos costs, and how well it agrees with denoising all anew.

python bench/incremental.py --crops 1000000

The features are of bench/denoise_scale.py, at LUPerson-NL's shape. Denoises all videos, all but a
hundredth, and then the rest as added to that. The two results are compared by pairs of crops;
beside it, the result before anything was added, on the crops that it has: two runs differ by that
much alone, since the second learns its space anew.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from denoise_scale import Clock, simulate

from cion_core.audit import scores
from cion_core.denoise import Denoised, Settings, denoise

PIECE = 1 << 16  # rows copied at a time


def agreement(a: Denoised, b: Denoised) -> dict:
    """Precision, recall and F1 of the pairs of a against those of b, on the crops of both."""
    both = a.identities.merge(b.identities, on="crop", suffixes=("_a", "_b"))
    return scores.pairwise(both.identity_a.to_numpy(), both.identity_b.to_numpy())


def measured(crops: int, dim: int, settings: Settings, added: float, folder: Path) -> None:
    """Print what the three calls took, and how well their results agree."""
    clock = Clock(crops)
    table, features = simulate(crops, dim, folder)
    names = table.video.unique()
    new = np.random.default_rng(1).choice(names, max(1, round(added * len(names))), replace=False)
    rows = np.flatnonzero(~table.video.isin(new))
    part = np.lib.format.open_memmap(folder / "old.npy", "w+", np.float16, (len(rows), dim))
    for start in range(0, len(rows), PIECE):
        part[start : start + PIECE] = features[rows[start : start + PIECE]]
    earlier = clock("without them", partial(denoise, table.iloc[rows], part, settings))
    grown = clock("they are added", partial(denoise, table, features, settings, earlier=earlier))
    whole = clock("all anew", partial(denoise, table, features, settings))
    took = pd.DataFrame(clock.rows).set_index("part").seconds
    share = took["they are added"] / took["all anew"]
    print(
        f"{len(new)} of {len(names)} videos, {1 - len(rows) / crops:.2%} of the crops: "
        f"{share:.2%} of the time"
    )
    for name, result in {
        "added to the earlier result": grown,
        "the earlier result": earlier,
    }.items():
        print(f"pairs of crops, {name} against all anew: {agreement(result, whole)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=int, nargs="+", default=[100_000])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument(
        "--range", type=int, help="Sliding Range; what fits in memory if it is not given"
    )
    parser.add_argument("--added", type=float, default=0.01, help="share of the videos")
    options = parser.parse_args()
    for crops in options.crops:
        with tempfile.TemporaryDirectory() as folder:
            measured(
                crops,
                options.dim,
                Settings(range=options.range or "auto"),
                options.added,
                Path(folder),
            )


if __name__ == "__main__":
    main()
