"""The services of docker/compose.yaml as processes: their own commands, settings, checks.

Environment and order are the file's, too. They run in a network of their own, where `postgres`,
`s3`, `mlflow` and `prefect` are names of the loopback address, so that not a word of the compose
file need be changed. Two images are not ours: Debian's Postgres stands in for the one, moto's
server for the S3-compatible store.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

BINARIES = Path(sys.executable).parent
HOSTS = "127.0.0.1 localhost postgres s3 mlflow prefect\n"
# These belong to the team alone; its processes end with the first of them.
SPACES = ["--net", "--mount", "--pid"]
PREPARE = """
ip link set lo up
mount --bind "$1" /etc/hosts
mount --bind "$2" /workspace
echo ready
exec sleep infinity
"""
QUIET = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}


def missing() -> str | None:
    """What this machine lacks to run a team, or None."""
    if os.geteuid() != 0:
        return "needs root, for a network of its own"
    for program in ("ip", "unshare", "nsenter", "setpriv"):
        if shutil.which(program) is None:
            return f"no {program}: apt-get install iproute2 util-linux"
    if not postgres_binaries():
        return "no Postgres: apt-get install postgresql"
    return None


def postgres_binaries() -> Path | None:
    """The folder of Debian's newest Postgres."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


class Team:
    """Services that run beside one another, in a checkout that they know as /workspace.

    Args:
        services: what docker-compose reads in the compose file, by name.
        checkout: the folder of the project.
    """

    def __init__(self, services: dict[str, dict], checkout: Path) -> None:
        self.services = services
        self.folder = Path(tempfile.mkdtemp(prefix="cion-team-"))
        self.folder.chmod(0o755)  # Postgres is another user
        (self.folder / "hosts").write_text(HOSTS)
        self.processes: dict[str, subprocess.Popen] = {}
        self.made_workspace = not Path("/workspace").exists()
        Path("/workspace").mkdir(exist_ok=True)
        prepare = ["sh", "-euc", PREPARE, "sh", str(self.folder / "hosts"), str(checkout)]
        self.holder = subprocess.Popen(
            ["unshare", *SPACES, "--mount-proc", "--fork", "--kill-child", *prepare],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.holder.stdout.readline() == "ready\n"
        children = (
            Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()
        )
        self.first = children[0]  # the first process in there; `unshare` itself stays outside

    def close(self) -> None:
        """End all processes, and remove what they stored."""
        self.holder.kill()
        self.holder.wait()
        for process in self.processes.values():
            process.wait()
        shutil.rmtree(self.folder)
        if self.made_workspace:
            Path("/workspace").rmdir()

    def environment(self, name: str) -> dict[str, str]:
        """What a service finds in its environment: its image's and its own."""
        own = {key: str(value) for key, value in self.services[name].get("environment", {}).items()}
        path = f"{BINARIES}:{postgres_binaries()}:{os.environ['PATH']}"
        home = self.folder / "homes" / name
        home.mkdir(parents=True, exist_ok=True)
        return {"PATH": path, "HOME": str(home), "OMP_NUM_THREADS": "1"} | QUIET | own

    def inside(self, name: str, command: list[str], where: str | None = None) -> list[str]:
        """A command that runs as the service would: in its network, its working folder."""
        folder = where or self.services[name].get("working_dir", "/")
        enter = ["nsenter", "--target", self.first, *SPACES, "--"]
        return [*enter, "sh", "-c", 'cd "$0" && exec "$@"', folder, *command]

    def run(self, name: str, *command: str, where: str | None = None, fails: bool = False) -> str:
        """Run a command beside a service, as `docker compose exec` does; its output as one text."""
        done = subprocess.run(
            self.inside(name, list(command), where),
            env=self.environment(name),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert (done.returncode != 0) == fails, done.stdout[-6000:]
        return done.stdout

    def up(self, *names: str) -> None:
        """Start services after those they need, as `docker compose up` does.

        Returns when all are healthy or done.
        """
        for name in names:
            if name in self.processes:
                continue
            self.up(*self.services[name].get("depends_on", {}))
            self.processes[name] = self._start(name)
            self._wait(name)

    def log(self, name: str) -> str:
        """What a service has said."""
        return (self.folder / f"{name}.log").read_text()

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """Tell a service to end, and wait for it."""
        process = self.processes.pop(name)
        os.killpg(process.pid, how)
        process.wait()

    def _start(self, name: str) -> subprocess.Popen:
        if name == "postgres":
            command = self._prepare_postgres()
        elif name == "s3":
            command = ["python", "-m", "moto.server", "--host", "127.0.0.1", "--port", "7070"]
        else:
            command = self.services[name]["entrypoint"] + self.services[name]["command"]
        with open(self.folder / f"{name}.log", "w") as log:
            return subprocess.Popen(
                self.inside(name, command),
                env=self.environment(name),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _prepare_postgres(self) -> list[str]:
        """Do what the image does at its first start, and return the command that it ends with."""
        given = self.environment("postgres")
        data, password = self.folder / "postgres", self.folder / "password"
        data.mkdir()
        shutil.chown(data, "postgres", "postgres")
        password.write_text(given["POSTGRES_PASSWORD"])
        as_postgres = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        self.run(
            "postgres", *as_postgres, "initdb", "--pgdata", str(data), "--auth", "scram-sha-256",
            "--username", given["POSTGRES_USER"], "--pwfile", str(password), where="/",
        )  # fmt: skip
        password.unlink()
        return [*as_postgres, "postgres", "-D", str(data), "-k", "/tmp"]

    def _make_databases(self) -> None:
        """Run the script that the image runs at its first start."""
        (script,) = (
            volume.split(":")[0]
            for volume in self.services["postgres"]["volumes"]
            if ".sql:" in volume
        )
        given = self.environment("postgres")
        where = f"postgresql://{given['POSTGRES_USER']}:{given['POSTGRES_PASSWORD']}@postgres/{given['POSTGRES_DB']}"
        self.run("postgres", "psql", "--file", script, where)

    def _wait(self, name: str, seconds: float = 300.0) -> None:
        """Wait until a service is healthy or, where it is one that ends, done."""
        process, end = self.processes[name], time.monotonic() + seconds
        if "healthcheck" not in self.services[name]:
            assert process.wait(seconds) == 0, self.log(name)
            return
        while not self._healthy(name):
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{name} is not healthy: {self.log(name)[-6000:]}")
            time.sleep(0.5)
        if name == "postgres":
            self._make_databases()

    def _healthy(self, name: str) -> bool:
        kind, *test = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        if name == "s3":  # moto has no page of its own for this
            test = [word.replace("/health", "/") for word in test]
        done = subprocess.run(
            self.inside(name, test), env=self.environment(name), capture_output=True
        )
        return done.returncode == 0
