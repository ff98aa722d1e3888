"""Docker's files, as tests read them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
SECRETS = {"POSTGRES_PASSWORD": "first", "S3_ACCESS_KEY": "second", "S3_SECRET_KEY": "third"}


@pytest.fixture
def secrets() -> dict[str, str]:
    """A value for each variable that has no default."""
    return dict(SECRETS)


@pytest.fixture(scope="session")
def compose() -> Callable[..., subprocess.CompletedProcess]:
    """Runs Debian's docker-compose on the project's file and docker/.env.example.

    `compose("config", NAME="value")`.
    """
    if shutil.which("docker-compose") is None:
        pytest.skip("no docker-compose: apt-get install docker-compose")
    folder = PROJECT / "docker"

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [
                "docker-compose",
                "--env-file",
                folder / ".env.example",
                "-f",
                folder / "compose.yaml",
                *arguments,
            ],
            env={"PATH": os.environ["PATH"]} | variables,
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture(scope="session")
def services(compose: Callable) -> dict[str, dict]:
    """The services as docker-compose reads them, with values for the secrets."""
    return yaml.safe_load(compose("config", **SECRETS).stdout)["services"]
