"""Is training right and fast on this GPU?

python bench/gpu_check.py      ends by itself in under 8 minutes

It makes its own data, and needs torch (2.11 or newer), timm, numpy, OpenCV, pydantic and PyYAML:
neither DVC nor MLflow nor Prefect. The weightiest checks come first. What fails is told and the
next one begins; when the time is up, it says what it did not reach. The table that it prints at the
end goes into docs/bench.md. `--tiny` is for a CPU: small sizes, and checks that only a GPU can
answer are left out.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import torch  # noqa: E402


@dataclass
class Sizes:
    """What is measured at: as published, or `tiny`."""

    tiny: bool
    device: torch.device
    backbone: str = field(init=False)
    image: tuple[int, int] = field(init=False)
    batch: int = field(init=False)
    instances: int = field(init=False)
    local_views: int = field(init=False)
    dim: int = field(init=False)
    workers: int = field(init=False)
    steps: int = field(init=False)

    def __post_init__(self) -> None:
        whole = ("resnet50_ibn", (256, 128), 120, 8, 8, 65_536, 16, 6)
        small = ("resnet10_ibn", (64, 32), 8, 4, 1, 64, 0, 2)
        names = (
            "backbone",
            "image",
            "batch",
            "instances",
            "local_views",
            "dim",
            "workers",
            "steps",
        )
        for name, value in zip(names, small if self.tiny else whole, strict=True):
            setattr(self, name, value)


@dataclass(frozen=True)
class Check:
    """Something to find out.

    Attributes:
        name: what it is about.
        run: gives what was found, in a line; it raises where something is wrong.
        seconds: what it may take on a GPU; it is not begun where less is left.
        gpu: whether only a GPU can answer.
    """

    name: str
    run: Callable[[Sizes], str]
    seconds: float
    gpu: bool = False


class Report:
    """What was found, by check; it prints the table."""

    def __init__(self, title: str, checks: list[Check]) -> None:
        self.title, self.waiting, self.lines = title, [check.name for check in checks], []
        self.failed = False

    def add(self, name: str, found: str, seconds: float) -> None:
        """Note what was found, and say it at once."""
        self.waiting.remove(name)
        self.lines.append(f"| {name} | {found} | {seconds:.0f} |")
        self.failed |= found.startswith("FAILED")
        print(f"{seconds:6.1f} s  {name}: {found}", flush=True)

    def print(self) -> None:
        """The whole table, as Markdown."""
        print(f"\n{self.title}\n\n| check | found | seconds |\n| --- | --- | ---: |")
        print("\n".join(self.lines))
        print(f"\nnot reached: {', '.join(self.waiting) or 'nothing'}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="small sizes, for a CPU")
    parser.add_argument("--limit", type=float, default=460, help="seconds after which it ends")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    o = parser.parse_args()
    begun, sizes = time.monotonic(), Sizes(o.tiny, torch.device(o.device))
    gpu = sizes.device.type == "cuda"

    import gpu_right
    import gpu_speed

    checks = [
        check for check in (*gpu_right.FIRST, *gpu_speed.FIRST, *gpu_right.THEN, *gpu_speed.THEN)
    ]
    checks = [check for check in checks if gpu or not check.gpu]
    device = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads"
    report = Report(f"{device}; torch {torch.__version__}; {sizes}", checks)

    def give_up() -> None:
        print(f"\n{o.limit:g} seconds are over", flush=True)
        report.print()
        os._exit(3)  # a kernel or another process may hang, which no exception would end

    watchdog = threading.Timer(o.limit, give_up)
    watchdog.daemon = True
    watchdog.start()
    for check in checks:
        left = o.limit - (time.monotonic() - begun)
        if left < check.seconds and gpu:
            continue
        start = time.monotonic()
        try:
            found = check.run(sizes)
        except Exception as error:  # the other checks are still worth their time
            traceback.print_exc()
            found = f"FAILED: {(str(error) or type(error).__name__).splitlines()[0]}"
        report.add(check.name, found, time.monotonic() - start)
        if gpu:
            torch.cuda.empty_cache()
    watchdog.cancel()
    report.print()
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
