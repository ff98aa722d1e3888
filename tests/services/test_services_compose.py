"""The compose file: what docker-compose makes of it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

OURS = ["buckets", "mlflow", "prefect", "deploy", "cpu-worker", "gpu-worker"]


def test_docker_compose_takes_the_file(compose: Callable, secrets: dict[str, str]) -> None:
    done = compose("config", "--quiet", **secrets)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", ["POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"])
def test_without_a_secret_nothing_starts(
    compose: Callable, secrets: dict[str, str], missing: str
) -> None:
    """The example has them all empty."""
    del secrets[missing]
    done = compose("config", **secrets)
    assert done.returncode != 0
    assert f"set {missing} in docker/.env" in done.stderr


def test_ports_are_bound_to_loopback_unless_asked_otherwise(
    compose: Callable, services: dict[str, dict], secrets: dict[str, str]
) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert sorted(ports) == [
        "127.0.0.1:4200:4200/tcp",
        "127.0.0.1:5000:5000/tcp",
        "127.0.0.1:7070:7070/tcp",
    ]
    asked = yaml.safe_load(compose("config", CION_BIND="0.0.0.0", **secrets).stdout)["services"]
    assert asked["prefect"]["ports"] == ["0.0.0.0:4200:4200/tcp"]


def test_each_image_is_built_here_or_pinned_by_its_digest(services: dict[str, dict]) -> None:
    for name, service in services.items():
        assert ("build" in service) == (name in OURS)
        assert "build" in service or "@sha256:" in service["image"]


def test_whatever_keeps_running_has_a_health_check_and_comes_back(
    services: dict[str, dict],
) -> None:
    endless = {name: service for name, service in services.items() if service["restart"] != "no"}
    assert set(endless) == {"postgres", "s3", "mlflow", "prefect", "cpu-worker", "gpu-worker"}
    assert all(service["restart"] == "unless-stopped" for service in endless.values())
    assert all("healthcheck" in service for service in endless.values())


def test_services_wait_until_what_they_need_is_healthy_or_done(services: dict[str, dict]) -> None:
    for service in services.values():
        for name, needed in service.get("depends_on", {}).items():
            ends = services[name]["restart"] == "no"
            assert needed["condition"] == (
                "service_completed_successfully" if ends else "service_healthy"
            )


def test_what_is_stored_lies_in_named_volumes(services: dict[str, dict]) -> None:
    assert "postgres:/var/lib/postgresql/data:rw" in services["postgres"]["volumes"]
    assert "s3:/data:rw" in services["s3"]["volumes"]


def test_the_gpu_worker_is_asked_for_and_reserves_the_gpus(project: Path) -> None:
    """Read as it stands: Debian's docker-compose shows neither."""
    worker = yaml.safe_load((project / "docker/compose.yaml").read_text())["services"]["gpu-worker"]
    assert worker["profiles"] == ["gpu"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}


def test_only_the_gpu_worker_does_one_task_at_a_time(services: dict[str, dict]) -> None:
    """Two trainings would share the memory of a card."""
    assert services["gpu-worker"]["command"][-2:] == ["--limit", "1"]
    assert "--limit" not in services["cpu-worker"]["command"]


def test_a_worker_waits_for_each_pool_that_a_deployment_names(
    services: dict[str, dict], project: Path
) -> None:
    deployments = yaml.safe_load((project / "prefect.yaml").read_text())["deployments"]
    served = {
        service["command"][3] for name, service in services.items() if name.endswith("-worker")
    }
    made = set(
        (project / "docker/deploy.sh").read_text().split("for pool in ")[1].split(";")[0].split()
    )
    assert {deployment["work_pool"]["name"] for deployment in deployments} <= served == made


def test_git_tracks_no_secret(project: Path, secrets: dict[str, str]) -> None:
    example = (project / "docker/.env.example").read_text().splitlines()
    assert all(f"{secret}=" in example for secret in secrets)
    ignored = subprocess.run(
        ["git", "check-ignore", "docker/.env"], cwd=project, capture_output=True
    )
    assert ignored.returncode == 0
