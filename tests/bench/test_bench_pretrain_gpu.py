"""The bench of pre-training runs, at a size for a CPU.

What it prints on a GPU is in docs/bench.md.
"""

import subprocess
import sys


def test_it_prints_both_forms_and_where_their_time_goes(project):
    command = [
        sys.executable,
        "bench/pretrain_gpu.py",
        "--backbone",
        "resnet10_ibn",
        "--batch",
        "8",
        "--instances",
        "4",
        "--local-views",
        "1",
        "--image",
        "32",
        "16",
        "--dim",
        "32",
        "--workers",
        "0",
        "--steps",
        "2",
        "--device",
        "cpu",
    ]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _, header, published, ours, ratio = done.stdout.splitlines()[-5:]
    assert header.split()[:2] == ["crops/s", "GB"] and "teacher follows" in header
    assert (
        published.startswith("as published")
        and ours.startswith("ours")
        and "times the crops a second" in ratio
    )
    assert float(ours.split()[1]) > 0 and published.count("%") == ours.count("%") == 5
