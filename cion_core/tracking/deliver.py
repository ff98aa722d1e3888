"""What of a journal is not in MLflow yet goes there, any number of times.

A run is found by its tag `cion.id`, never by a stored run id; `sent.json` beside the journal says what that run
already has. A metric carries the time at which it was recorded, so MLflow's store takes one sent twice as one.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import posixpath
import shutil
import sqlite3
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import mlflow
import numpy as np
import requests
import torch
import urllib3
from alembic.util import CommandError
from google.protobuf.json_format import ParseError
from mlflow.entities import Dataset, DatasetInput, LoggedModelOutput, Metric, Param, Run, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, infer_signature
from sqlalchemy.exc import SQLAlchemyError

from cion_core import work
from cion_core.progress import say
from cion_core.tracking import database, views
from cion_core.tracking.files import FileSender
from cion_core.tracking.journal import Journal, read

Client, Version = mlflow.MlflowClient, ModelVersion  # for those who may not import mlflow, as are Run, Metric, Param
BATCH = 1000  # metrics in a request; MLflow's limit, as are 100 params and 6,000 characters


def _clouds() -> list[type[Exception]]:
    """The errors of the artifact stores whose libraries are installed."""
    found = []
    for module, name in (
        ("botocore.exceptions", "BotoCoreError"), ("botocore.exceptions", "ClientError"),
        ("boto3.exceptions", "Boto3Error"), ("google.api_core.exceptions", "GoogleAPIError"),
        ("azure.core.exceptions", "AzureError"),
    ):  # fmt: skip
        try:
            found.append(getattr(importlib.import_module(module), name))
        except ImportError:
            continue
    return found


# What MLflow and what it stands on raise for servers, databases and stores that are down, slow, full or of another
# version. Any other error is a bug of this package, and is not caught.
ERRORS = (
    MlflowException, requests.RequestException, urllib3.exceptions.HTTPError, SQLAlchemyError, sqlite3.Error,
    CommandError, ParseError, json.JSONDecodeError, OSError, ImportError, *_clouds(),
)  # fmt: skip


def uri() -> str:
    """Where runs go."""
    return database.absolute(os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db")


def experiment() -> str:
    """The experiment of the comparison, one row a model."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "cion"


def reproductions() -> str:
    """The experiment of everything that was run: reproductions, with their stages inside."""
    return f"{experiment()} reproductions"


def client() -> Client:
    """A client of MLflow's runs and of its registry; a database of this machine is there and whole by then."""
    database.prepare(uri())
    return Client(tracking_uri=uri(), registry_uri=uri())


def find_experiment(client: Client, name: str) -> str:
    """The id of an experiment, found or created, that opens as one of models that are trained."""
    if (known := client.get_experiment_by_name(name)) is None:
        return client.create_experiment(name, database.artifact_location(uri(), name), views.KIND)
    for tag, value in views.KIND.items():
        if known.tags.get(tag) != value:  # made by somebody else, or before this was known
            client.set_experiment_tag(known.experiment_id, tag, value)
    return known.experiment_id


def search(client: Client, experiment: str, query: str) -> list[Run]:
    """All runs of an experiment that a query finds."""
    found = client.search_runs([experiment], query)
    runs = list(found)
    while found.token:
        found = client.search_runs([experiment], query, page_token=found.token)
        runs += found
    return runs


def log_data(client: Client, run: str, data: Mapping[str, str]) -> None:
    """Name the data of a run, {path: hash}; lists have room for short names, so the whole ones are in the source."""
    sets = [
        Dataset(path.removeprefix("data/"), digest[:8], "dvc", json.dumps({"path": path, "md5": digest}))
        for path, digest in data.items()
    ]
    if sets:
        client.log_inputs(run, [DatasetInput(one) for one in sets])


def send(journal: Journal, limit: float = math.inf) -> bool:
    """Send what is new, and remove the journal of a finished run once all is sent; return whether there was any.

    Args:
        limit: seconds after which the next request is not begun.

    Raises:
        ERRORS: what was sent until then stays sent.
    """
    delivery = _Delivery(journal, time.monotonic() + limit)
    delivery.about()
    delivery.metrics()
    delivery.status()  # before the files: a server may refuse those
    delivery.artifacts()
    delivery.tables()
    delivery.model()
    if journal.about["status"] == "FINISHED":
        shutil.rmtree(journal.folder)
    return delivery.changed


class _Delivery:
    def __init__(self, journal: Journal, deadline: float) -> None:
        self.journal, self.deadline, self.changed = journal, deadline, False
        self.client = client()
        self.experiment = find_experiment(self.client, reproductions())
        about = journal.about
        title = self._dated(about) if about["kind"] == "reproduction" else f"{about['kind']} {about['name']}"
        self.run = self._run(about["id"], title, about["started"])
        self.sender = FileSender(self.client, uri(), self.run)
        self.sent = read(journal.folder / "sent.json")
        if (self.sent.get("uri"), self.sent.get("run")) != (uri(), self.run):  # another server, or deleted there
            self.sent = {"uri": uri(), "run": self.run, "metrics": 0}

    def _run(self, id: str, name: str, started: int) -> str:
        """The run of this id, found or created.

        Machines that create it at the same moment cannot see one another. So all that there are become one: the
        earliest, whoever has made it. The children of the others become its children.
        """
        query = f"tags.`cion.id` = '{id}'"
        found = search(self.client, self.experiment, query)
        if not found:
            tags = {"cion.id": id, "mlflow.source.name": "cion"}
            created = self.client.create_run(self.experiment, started, tags, name)
            if not created.info.run_id:
                raise MlflowException("the answers are JSON, but no MLflow server's")  # which read as empty fields
            found = search(self.client, self.experiment, query) or [created]
        first, *others = sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))
        for other in others:
            self._merge(other.info.run_id, first.info.run_id)
        return first.info.run_id

    def _merge(self, other: str, first: str) -> None:
        """Let the children of one run be those of another; the one that has lost them is deleted."""
        for child in search(self.client, self.experiment, f"tags.`mlflow.parentRunId` = '{other}'"):
            self.client.set_tag(child.info.run_id, "mlflow.parentRunId", first)
        self.client.delete_run(other)

    def _parent(self) -> str | None:
        about = self.journal.about
        if (id := about["reproduction"]) is None:
            return None
        return self._run(id, self._dated(about), about["resumed"])

    @staticmethod
    def _dated(about: Mapping) -> str:
        return f"{about.get('title', 'reproduction')} {datetime.fromtimestamp(about['resumed'] / 1000):%Y-%m-%d %H:%M}"

    def _give_up(self, reproduction: str, status: str) -> None:
        """End a parent run that nothing else has ended."""
        if self.client.get_run(reproduction).info.status == "RUNNING":
            self.client.set_terminated(reproduction, status)

    def _done(self, **sent) -> None:
        """Note what a request has sent; no further one begins after the deadline."""
        self.changed = True
        self.sent |= sent
        work.write_json(self.journal.folder / "sent.json", self.sent)
        if time.monotonic() > self.deadline:
            raise TimeoutError("MLflow takes too long")

    def about(self) -> None:
        """Params, tags, the parent run, the data."""
        about = self.journal.about
        stamp = work.key({name: about[name] for name in ("reproduction", "params", "tags", "data")})
        if self.sent.get("about") == stamp:
            return
        data = about["data"]
        tags = {"cion.stage": about["kind"], "cion.name": about["name"], "cion.key": about["key"], **about["tags"]}
        if data:
            tags["cion.data"] = work.key(data)
        if parent := self._parent():
            tags["mlflow.parentRunId"] = parent
            before = self.client.get_run(self.run).data.tags.get("mlflow.parentRunId", parent)
            if before != parent:  # the reproduction in which this run was killed or failed
                self._give_up(before, "KILLED")
        self.client.log_batch(self.run, tags=[RunTag(name, str(value)[:5000]) for name, value in tags.items()])
        params = [Param(name, value[:6000]) for name, value in about["params"].items()]
        for first in range(0, len(params), 100):
            self.client.log_batch(self.run, params=params[first : first + 100])
        log_data(self.client, self.run, data)
        self._done(about=stamp)

    def metrics(self) -> None:
        batch, offset = [], self.sent["metrics"]
        for line, behind in self.journal.lines(offset):
            new = [Metric(name, value, line["time"], line["step"]) for name, value in line["metrics"].items()]
            if batch and len(batch) + len(new) > BATCH:
                self.client.log_batch(self.run, metrics=batch)
                self._done(metrics=offset)
                batch = []
            batch, offset = batch + new, behind
        if batch:
            self.client.log_batch(self.run, metrics=batch)
            self._done(metrics=offset)

    def _files(self, kind: str) -> None:
        for name, stamp in self.journal.files(kind).items():
            if self.sent.get(kind, {}).get(name) != stamp:
                path = self.journal.folder / kind / name
                self.sender.send(path, posixpath.dirname(name))
                self._done(**{kind: self.sent.get(kind, {}) | {name: stamp}})

    def artifacts(self) -> None:
        self._files("artifacts")

    def tables(self) -> None:
        """As `MlflowClient.log_table` does, which however appends to what an earlier attempt has sent."""
        self._files("tables")
        listed = [{"path": name, "type": "table"} for name in self.sent.get("tables", {})]
        if listed and self.sent.get("listed") != listed:
            self.client.set_tag(self.run, "mlflow.loggedArtifacts", json.dumps(listed))
            self._done(listed=listed)

    def model(self) -> None:
        """The model folder as a logged model of this run."""
        folder, files = self.journal.folder / "model", self.journal.files("model")
        if not files or self.sent.get("model") == files:
            return
        self.sender.check(folder / "MLmodel", "model")  # a model goes where the run's files go
        name = self.journal.about["name"].replace(".", "_")  # MLflow allows no dots there
        found = self.client.search_logged_models([self.experiment], f"source_run_id = '{self.run}'")
        logged = found[0] if found else self.client.create_logged_model(self.experiment, name, self.run)
        card = Model.load(str(folder))
        card.model_id = card.model_uuid = logged.model_id
        card.run_id, card.artifact_path = self.run, logged.artifact_location
        card.save(str(folder / "MLmodel"))
        self.client.log_model_artifacts(logged.model_id, str(folder))
        self.client.finalize_logged_model(logged.model_id, "READY")
        self.client.log_outputs(self.run, [LoggedModelOutput(logged.model_id, 0)])
        self._done(model=self.journal.files("model"))

    def status(self) -> None:
        """How the run stands; a failed stage fails its reproduction until `compare` closes that."""
        status = self.journal.about["status"]
        if self.sent.get("status", "RUNNING") == status:
            return
        if status == "RUNNING":
            self.client.update_run(self.run, status)
        else:
            self.client.set_terminated(self.run, status, self.journal.about["ended"])
            if parent := self._parent():  # which another machine may have made in the meantime
                self.client.set_tag(self.run, "mlflow.parentRunId", parent)
        if status == "FAILED" and (parent := self._parent()):
            self._give_up(parent, status)
        self._done(status=status)


def save_model(model: torch.nn.Module, example: np.ndarray, card: Mapping, folder: Path) -> None:
    """Write an MLflow model with a signature for any batch, exported so that it loads without this package.

    One that torch.export does not understand is pickled instead.
    """
    from cion_core import compat  # noqa: F401, I001  before mlflow.pytorch and its torchvision
    import mlflow.pytorch

    batch = np.repeat(np.float32(example[:1]), 2, axis=0)  # one alone would be exported as a constant
    with torch.inference_mode():
        features = model(torch.from_numpy(batch)).numpy()

    def save(how: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        mlflow.pytorch.save_model(
            model, str(folder), signature=infer_signature(batch, features), input_example=batch,
            metadata=dict(card), serialization_format=how,
            pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", "numpy"],  # else inferred, slowly
        )  # fmt: skip

    try:
        save("pt2")
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        say(f"torch.export does not take this model ({type(error).__name__}); MLflow gets it pickled")
        save("pickle")
