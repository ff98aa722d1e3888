"""The bench of evaluation: its features, its plain forms, and a run at a small size."""

import subprocess
import sys

import numpy as np
import pytest

from cion_core.evaluate.metrics import score
from cion_core.evaluate.rerank import Reranked


@pytest.mark.parametrize("size", ["market", "msmt17"])
def test_features_are_neither_hopeless_nor_perfect(bench, size):
    world = bench("evaluation").world(size, 0.05)
    assert (
        np.allclose(np.linalg.norm(world.query, axis=1), 1, atol=1e-5)
        and world.query.dtype == np.float32
    )
    product, after, found = bench("evaluation").ours(world)
    assert 20 < found < 95 and product > 0 and after > 0


def test_the_published_form_equals_ours(bench):
    world = bench("evaluation").world("market", 0.02)
    plain, _ = bench("evaluation").published(world.query, world.gallery)
    np.testing.assert_allclose(Reranked(world.query, world.gallery)[:], plain, atol=2e-6)
    assert bench("evaluation").reranked(world) == pytest.approx(
        100 * np.nanmean(score(plain, *world.who).ap)
    )


def test_parts_of_the_queries_are_evaluated_alike(bench):
    """A stand-in for fast-reid's evaluation answers from our scores of the part it is given."""
    from cion_core.benchmark.labels import Labels

    world = bench("evaluation").world("market", 0.02)

    def evaluate(distance, query, gallery, query_camera, gallery_camera, ranks):
        found = score(distance, Labels(query, query_camera), Labels(gallery, gallery_camera))
        return None, found.ap[found.valid], found.inp[found.valid]

    assert bench("evaluation").fast_reids(world, evaluate, 3)[2] == pytest.approx(
        bench("evaluation").ours(world)[2]
    )


def test_the_reranking_bench_runs_at_a_small_size(project):
    command = [sys.executable, "bench/evaluation.py", "--rerank", "--scale", "0.02"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "times as fast" in done.stdout and "distances differ by" in done.stdout
