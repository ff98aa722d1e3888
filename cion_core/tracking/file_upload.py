"""Uploads the files of a run to MLflow, and never into a folder that only this machine has.

A server that takes no files over the network names a folder of its own. MLflow's client then writes
into that folder on the client's machine, where nobody looks for the files. So after the first file
the server is asked whether it has it.
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


class FileUploader:
    """Uploads the files of one run.

    Args:
        client: of the server or database.
        uri: which that is.
        run: MLflow's id of the run.
    """

    def __init__(self, client: mlflow.MlflowClient, uri: str, run: str) -> None:
        self._client = client
        self._uri = uri
        self._run = run
        # Whether files are known to arrive. With a database its folder is on this machine.
        self._arrives = not uri.startswith("http")

    def upload(self, path: Path, folder: str) -> None:
        """Upload a file into a folder of the run's artifacts; "" is the top.

        Raises:
            MlflowException: the server keeps files in a folder that this machine does not share
                with it.
        """
        if self._arrives:
            self._log_artifact(path, folder)
        else:
            self.check(path, folder)

    def check(self, path: Path, folder: str) -> None:
        """Find out, by uploading this file, whether files arrive; nothing is done if that is known.

        Raises:
            MlflowException: they do not, as in `upload`.
        """
        if self._arrives:
            return
        artifact_uri = self._client.get_run(self._run).info.artifact_uri
        place = database.find_local_path(artifact_uri)
        # No path of a machine: files go over the network, or into a store.
        if place is None:
            self._log_artifact(path, folder)
            self._arrives = True
            return

        was_there = Path(place).exists()
        try:
            self._log_artifact(path, folder)
            self._arrives = self._server_has(posixpath.join(folder, path.name))
        except OSError:
            # This machine has no such folder, and may not make one.
            self._arrives = False
        if not self._arrives:
            if not was_there:
                shutil.rmtree(place, ignore_errors=True)
            raise MlflowException(
                "it takes no files over the network. Start it with --artifacts-destination and "
                f"without --default-artifact-root: now it keeps files in {place} of its own machine"
            )

    def _log_artifact(self, path: Path, folder: str) -> None:
        self._client.log_artifact(self._run, str(path), folder or None)

    def _server_has(self, name: str) -> bool:
        """Whether the server itself sees a file of the run."""
        answer = http_request(
            host_creds=get_default_host_creds(self._uri),
            endpoint="/api/2.0/mlflow/artifacts/list",
            method="GET",
            params={"run_id": self._run, "path": posixpath.dirname(name)},
        )
        files = answer.json().get("files", [])
        return any(file["path"] == name for file in files)
