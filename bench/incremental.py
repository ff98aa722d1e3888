"""What adding videos costs, and how well it agrees with all anew: `python bench/incremental.py --crops 1000000`.

The features are of bench/denoise_scale.py, at LUPerson-NL's shape. Denoises all videos, all but a hundredth, and then
the rest as added to that. The two results are compared by pairs of crops; beside it, the result before anything was
added, on the crops that it has: two runs differ by that much alone, since the second learns its space anew.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from denoise_scale import Clock, simulate

from cion_core.denoise import Denoised, audit, denoise


def agreement(a: Denoised, b: Denoised) -> dict:
    """Precision, recall and F1 of the pairs of a against those of b, on the crops that both keep."""
    both = a.identities.merge(b.identities, on="crop", suffixes=("_a", "_b"))
    return {name: round(float(v), 4) for name, v in audit.pairs(both.identity_a, both.identity_b).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=int, nargs="+", default=[100_000])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--range", type=int, help="Sliding Range; everything at once if it is not given")
    parser.add_argument("--added", type=float, default=0.01, help="share of the videos")
    options = parser.parse_args()
    for crops in options.crops:
        with tempfile.TemporaryDirectory() as folder:
            clock = Clock(crops)
            table, features = simulate(crops, options.dim, Path(folder))
            names = table.video.unique()
            new = np.random.default_rng(1).choice(names, max(1, round(options.added * len(names))), replace=False)
            old = ~table.video.isin(new).to_numpy()
            part = np.lib.format.open_memmap(Path(folder) / "old.npy", "w+", np.float16, (old.sum(), options.dim))
            for start in range(0, len(part), 1 << 16):
                part[start : start + (1 << 16)] = features[np.flatnonzero(old)[start : start + (1 << 16)]]
            knobs = {"sliding_range": options.range}
            earlier = clock("without them", lambda: denoise(table[old], part, **knobs))
            grown = clock("they are added", lambda: denoise(table, features, earlier=earlier))
            told = {"added to the earlier result": grown, "the earlier result": earlier}
            del earlier, grown
            whole = clock("all anew", lambda: denoise(table, features, **knobs))
            took = pd.DataFrame(clock.rows).set_index("part").seconds
            print(f"{len(new)} of {len(names)} videos, {1 - old.mean():.2%} of the crops: "
                  f"{took['they are added'] / took['all anew']:.2%} of the time of all anew")  # fmt: skip
            for name, result in told.items():
                print(f"pairs of crops, {name} against all anew: {agreement(result, whole)}", flush=True)


if __name__ == "__main__":
    main()
