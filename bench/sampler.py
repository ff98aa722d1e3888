"""An epoch of the identity sampler at the size of CION's data: `python bench/sampler.py`.

4 million crops of 250,000 identities, some of which have many more crops than others. Prints the
seconds of making the sampler and of an epoch's plan for each K, and the memory that both take.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import psutil

from cion_core.training.sampler import IdentitySampler, draw_epoch


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crops", type=int, default=4_000_000)
    parser.add_argument("--identities", type=int, default=250_000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    share = rng.lognormal(0, 1, options.identities)
    size = 1 + rng.multinomial(options.crops - options.identities, share / share.sum())
    labels = rng.permutation(np.repeat(np.arange(options.identities), size))
    process = psutil.Process()
    before, begin = process.memory_info().rss, time.perf_counter()
    sampler = IdentitySampler(labels, 960, [(0.0, 2)], 1000, 0)
    print(f"sampler: {time.perf_counter() - begin:.2f} s")
    for instances in (1, 2, 4, 6, 8):
        begin = time.perf_counter()
        visits = draw_epoch(sampler.labels, instances, rng)
        seconds = time.perf_counter() - begin
        shown = np.bincount(visits.ravel(), minlength=options.crops)
        print(
            f"K = {instances}: {seconds:.2f} s, {len(visits)} visits, each crop {shown.min()} to "
            f"{shown.max()} times"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"memory: {(peak - before) / 2**20:.0f} MB more at most")


if __name__ == "__main__":
    main()
