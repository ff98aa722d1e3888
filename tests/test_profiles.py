"""Profiles: into params.yaml and back, comments kept, and nothing half written."""

import shutil
import subprocess
import sys

import pytest

from cion_core import profiles
from cion_core import project as whole
from cion_core.errors import CionError
from cion_core.finetune.recipes import RECIPES

NAMES = ("demo", "gpu-small", "paper")


@pytest.fixture
def path(project, workspace):
    shutil.copy(project / "params.yaml", workspace)
    shutil.copytree(project / "profiles", workspace / "profiles")
    return workspace / "params.yaml"


def test_params_yaml_is_the_demo_profile(path):
    before = path.read_text()
    assert profiles.apply("demo") == [] and whole.load(path) == whole.load()
    assert before.count("#") == path.read_text().count("#")


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_is_undone_by_that_of_the_demo(path, name):
    before = whole.load(path)
    changes = profiles.apply(name)
    assert bool(changes) == (name != "demo") and (whole.load(path) == before) == (name == "demo")
    assert "# gradient norm of each parameter" in path.read_text()
    profiles.apply("demo")
    assert whole.load(path) == before


def test_the_paper_is_the_published_one(path):
    changes = profiles.apply("paper")
    assert "pretrain.steps: 700 -> 100 epochs" in changes
    p = whole.load(path).pretrain
    assert (p.batch, p.local_views, p.head.out_dim, p.cion.lr) == (
        960,
        8,
        65536,
        pytest.approx(5e-4 * 960 / 256),
    )
    assert p.cion.instances == [(0.0, 2), (0.4, 4), (0.6, 6), (0.8, 8)]


def test_the_papers_recipes_are_as_they_are_without_any_setting(path):
    profiles.apply("paper")
    p = whole.load(path).finetune
    for name in ("bag_of_tricks", "mgn", "cluster_contrast"):
        assert p.settings(name) == RECIPES.named(name).Settings()


def test_what_would_not_be_valid_is_not_written(path):
    (path.parent / "profiles/odd.yaml").write_text("pretrain: {batch: 33}\n")
    before = path.read_bytes()
    with pytest.raises(CionError, match="batch 33"):
        profiles.apply("odd")
    assert path.read_bytes() == before
    with pytest.raises(
        CionError, match=r"gpu-large\.yaml: no such profile; valid: demo, gpu-small, odd, paper"
    ):
        profiles.apply("gpu-large")


@pytest.mark.parametrize("text", ["a: [1,", "ingest: 1", "", "a: {}\na: {}", "a: &a [*a]", "\0"])
def test_a_file_that_is_no_params_is_named(path, text):
    for wrong in (path, path.parent / "profiles/demo.yaml"):
        before = wrong.read_text()
        wrong.write_text(text)
        with pytest.raises(CionError, match=rf"^\S*{wrong.name}"):
            profiles.apply("demo")
        wrong.write_text(before)


def test_the_command_says_what_changed(path):
    done = subprocess.run(
        [sys.executable, "-m", "cion_core.cli", "profile", "gpu-small"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "pretrain.batch: 32 -> 64\n" in done.stdout
