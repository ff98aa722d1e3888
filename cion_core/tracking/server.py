"""MLflow's server or database: where it is, what is there, and what it raises when it fails."""

from __future__ import annotations

import importlib
import json
import os
import sqlite3
from collections.abc import Mapping

import mlflow
import requests
import urllib3
from alembic.util import CommandError
from google.protobuf.json_format import ParseError
from mlflow.entities import Dataset, DatasetInput, Run
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from cion_core.tracking import database, views

# The errors of the libraries of artifact stores (S3, Google, Azure), where they are installed.
STORE_ERRORS = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("boto3.exceptions", "Boto3Error"),
    ("google.api_core.exceptions", "GoogleAPIError"),
    ("azure.core.exceptions", "AzureError"),
)


def _find_store_errors() -> list[type[Exception]]:
    """Those of STORE_ERRORS whose library is installed."""
    found = []
    for module, name in STORE_ERRORS:
        try:
            library = importlib.import_module(module)
            found.append(getattr(library, name))
        except ImportError:
            continue
    return found


# What MLflow and the libraries below it raise for servers, databases and stores that are down,
# slow, full or of another version. Any other error is a bug of this package, and is not caught.
ERRORS = (
    MlflowException,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    SQLAlchemyError,
    sqlite3.Error,
    CommandError,
    ParseError,
    json.JSONDecodeError,
    OSError,
    ImportError,
    *_find_store_errors(),
)


def tracking_uri() -> str:
    """Where runs go: $MLFLOW_TRACKING_URI, else a database in the working folder."""
    given = os.environ.get("MLFLOW_TRACKING_URI")
    return database.make_absolute(given or "sqlite:///mlflow.db")


def comparison_name() -> str:
    """The name of the experiment of the comparison, which has one row for each model."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "cion"


def reproductions_name() -> str:
    """The name of the experiment of all that was run: reproductions, with their stages inside."""
    return f"{comparison_name()} reproductions"


def connect() -> mlflow.MlflowClient:
    """A client of MLflow's runs and registry. A database in this folder is made or mended first."""
    uri = tracking_uri()
    database.prepare(uri)
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def open_experiment(client: mlflow.MlflowClient, name: str) -> str:
    """The id of an experiment of trained models; it is created if there is none."""
    known = client.get_experiment_by_name(name)
    if known is None:
        location = database.find_artifact_location(tracking_uri(), name)
        try:
            return client.create_experiment(name, location, views.EXPERIMENT_KIND)
        except MlflowException as error:
            # Another process may have made it since we asked.
            known = client.get_experiment_by_name(name)
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or known is None:
                raise
    # Somebody else has made it, or an earlier version of this package, which set no such tags.
    for tag, value in views.EXPERIMENT_KIND.items():
        if known.tags.get(tag) != value:
            client.set_experiment_tag(known.experiment_id, tag, value)
    return known.experiment_id


def search_runs(client: mlflow.MlflowClient, experiment: str, query: str) -> list[Run]:
    """All runs of an experiment that a query finds, over all pages of the answer."""
    page = client.search_runs([experiment], query)
    runs = list(page)
    while page.token:
        page = client.search_runs([experiment], query, page_token=page.token)
        runs += page
    return runs


def log_data_sets(client: mlflow.MlflowClient, run: str, hashes: Mapping[str, str]) -> None:
    """Tell a run which data it was made from.

    MLflow's lists have room for short names and hashes alone, so the whole ones are in the
    `source`.

    Args:
        client: of the server.
        run: MLflow's id of the run.
        hashes: {path: hash}; DVC's hash for a stage, SHA-256 for a row of the comparison.
    """
    inputs = []
    for path, digest in hashes.items():
        source = json.dumps({"path": path, "hash": digest})
        data_set = Dataset(path.removeprefix("data/"), digest[:8], "dvc", source)
        inputs.append(DatasetInput(data_set))
    if inputs:
        client.log_inputs(run, inputs)
