"""Files of a run on their way to MLflow: never into a folder that only this machine has.

A server that takes no files over the network names a folder of its own, and MLflow's client writes there: on the
client's machine, where nobody looks for them. So after the first file the server is asked whether it has it.
"""

from __future__ import annotations

import posixpath
import shutil
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from cion_core.tracking import database


class FileSender:
    """Sends the files of one run.

    Args:
        client: of the server or database.
        uri: which that is.
        run: MLflow's id of the run.
    """

    def __init__(self, client: mlflow.MlflowClient, uri: str, run: str) -> None:
        self._client, self._uri, self._run = client, uri, run
        self._arrives = not uri.startswith("http")  # a database of this machine: its folder is here

    def send(self, path: Path, folder: str) -> None:
        """Send a file into a folder of the run's artifacts; "" is the top.

        Raises:
            MlflowException: the server keeps files in a folder that this machine has not in common with it.
        """
        if self._arrives:
            self._client.log_artifact(self._run, str(path), folder or None)
        else:
            self.check(path, folder)

    def check(self, path: Path, folder: str) -> None:
        """Send the file if no other one has shown yet that files arrive; raise as `send` if it does not."""
        if self._arrives:
            return
        place = database.local_path(self._client.get_run(self._run).info.artifact_uri)
        if place is None:  # over the network, or into a store
            self._client.log_artifact(self._run, str(path), folder or None)
            self._arrives = True
            return
        was_there = Path(place).exists()
        try:
            self._client.log_artifact(self._run, str(path), folder or None)
            self._arrives = self._server_has(posixpath.join(folder, path.name))
        except OSError:
            self._arrives = False  # this machine has no such folder, nor may it make one
        if not self._arrives:
            if not was_there:
                shutil.rmtree(place, ignore_errors=True)
            raise MlflowException(
                "it takes no files over the network. Start it with --artifacts-destination and without "
                f"--default-artifact-root: now it keeps files in {place} of its own machine"
            )

    def _server_has(self, name: str) -> bool:
        """Whether the server itself sees a file of the run."""
        answer = http_request(
            host_creds=get_default_host_creds(self._uri), endpoint="/api/2.0/mlflow/artifacts/list", method="GET",
            params={"run_id": self._run, "path": posixpath.dirname(name)},
        )  # fmt: skip
        return any(file["path"] == name for file in answer.json().get("files", []))
