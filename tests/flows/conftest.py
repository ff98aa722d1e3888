"""A real Prefect server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from server_asked import healthy, until


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncPrefectClient]:
    """A client of a `prefect server`, which flows of this process and of its children use too."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    mine = {"PREFECT_HOME": str(home), "PREFECT_API_URL": url}
    with pytest.MonkeyPatch.context() as patch, open(home / "server.log", "w") as log:
        for name, value in mine.items():
            patch.setenv(name, value)
        command = [
            sys.executable,
            "-m",
            "prefect",
            "server",
            "start",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            until(lambda: healthy(url), f"the Prefect server, see {log.name}", seconds=600)
            with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
                yield client
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
