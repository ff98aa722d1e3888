"""Uploads a journal to MLflow: each time only what MLflow does not have yet.

A run is found by its tag `cion.id`, never by a stored run id. `sent.json` beside the journal says
what the run on the server already has. A metric carries the time at which it was recorded, so
MLflow's store takes one that is sent twice as one.
"""

from __future__ import annotations

import json
import math
import posixpath
import shutil
import time
from collections.abc import Mapping
from datetime import datetime

from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from cion_core import work
from cion_core.tracking import server
from cion_core.tracking.file_upload import FileUploader
from cion_core.tracking.journal import Journal, read_json

# MLflow's limits: of the metrics and params in one request, and of the characters of a value.
METRICS_AT_ONCE = 1000
PARAMS_AT_ONCE = 100
TAG_LENGTH = 5000
PARAM_LENGTH = 6000
PARENT_TAG = "mlflow.parentRunId"


def upload_run(journal: Journal, limit: float = math.inf) -> bool:
    """Upload what is new. The journal of a finished run is removed once all of it is there.

    Args:
        journal: of the run.
        limit: seconds after which no further request is begun.

    Returns:
        Whether there was anything new.

    Raises:
        server.ERRORS: what was uploaded until then stays uploaded.
    """
    uploader = _RunUpload(journal, time.monotonic() + limit)
    uploader.upload_description()
    uploader.upload_metrics()
    # The status comes before the files: a server may refuse those.
    uploader.upload_status()
    uploader.upload_files("artifacts")
    uploader.upload_tables()
    uploader.upload_model()
    if journal.about["status"] == "FINISHED":
        shutil.rmtree(journal.folder)
    return uploader.has_changed


def dated_title(about: Mapping) -> str:
    """What a reproduction is called: its title, and when it was begun or taken up again."""
    resumed = datetime.fromtimestamp(about["resumed"] / 1000)
    return f"{about.get('title', 'reproduction')} {resumed:%Y-%m-%d %H:%M}"


class _RunUpload:
    """Uploads one journal. Each step sends what is new of its kind, so it can be repeated."""

    def __init__(self, journal: Journal, deadline: float) -> None:
        self.journal = journal
        self.deadline = deadline
        self.has_changed = False
        self.client = server.connect()
        self.experiment = server.open_experiment(self.client, server.reproductions_name())

        about = journal.about
        name = f"{about['kind']} {about['name']}"
        if about["kind"] == "reproduction":
            name = dated_title(about)
        self.run = self._claim_run(about["id"], name, about["started"])
        uri = server.tracking_uri()
        self.file_uploader = FileUploader(self.client, uri, self.run)

        self.sent = read_json(journal.folder / "sent.json")
        # What was sent to another server, or to a run that was deleted there, does not count.
        if (self.sent.get("uri"), self.sent.get("run")) != (uri, self.run):
            self.sent = {"uri": uri, "run": self.run, "metrics": 0}

    def upload_description(self) -> None:
        """Params, tags, the parent run, and the names of the data."""
        about = self.journal.about
        described = {name: about[name] for name in ("reproduction", "params", "tags", "data")}
        stamp = work.key(described)
        if self.sent.get("about") == stamp:
            return

        tags = {
            "cion.stage": about["kind"],
            "cion.name": about["name"],
            "cion.key": about["key"],
            **about["tags"],
        }
        if about["data"]:
            tags["cion.data"] = work.key(about["data"])
        if parent := self._claim_parent():
            tags[PARENT_TAG] = parent
            self._leave_parent(parent)
        run_tags = [RunTag(name, str(value)[:TAG_LENGTH]) for name, value in tags.items()]
        self.client.log_batch(self.run, tags=run_tags)

        params = [Param(name, value[:PARAM_LENGTH]) for name, value in about["params"].items()]
        for start in range(0, len(params), PARAMS_AT_ONCE):
            self.client.log_batch(self.run, params=params[start : start + PARAMS_AT_ONCE])
        server.log_data_sets(self.client, self.run, about["data"])
        self._note_sent(about=stamp)

    def upload_metrics(self) -> None:
        """The lines of metrics.jsonl, many in one request; `sent` has how many bytes of it."""
        batch = []
        sent_until = self.sent["metrics"]
        for line, line_end in self.journal.read_metrics(sent_until):
            time_of_line = line["time"]
            step = line["step"]
            values = line["metrics"].items()
            of_line = [Metric(name, value, time_of_line, step) for name, value in values]
            if batch and len(batch) + len(of_line) > METRICS_AT_ONCE:
                self.client.log_batch(self.run, metrics=batch)
                self._note_sent(metrics=sent_until)
                batch = []
            batch = batch + of_line
            sent_until = line_end
        if batch:
            self.client.log_batch(self.run, metrics=batch)
            self._note_sent(metrics=sent_until)

    def upload_status(self) -> None:
        """How the run stands. A failed run fails its reproduction, until `compare` closes that."""
        status = self.journal.about["status"]
        if self.sent.get("status", "RUNNING") == status:
            return
        if status == "RUNNING":
            self.client.update_run(self.run, status)
        else:
            self.client.set_terminated(self.run, status, self.journal.about["ended"])
            # Another machine may have made an earlier parent in the meantime.
            if parent := self._claim_parent():
                self.client.set_tag(self.run, PARENT_TAG, parent)
        if status == "FAILED" and (parent := self._claim_parent()):
            self._end_if_running(parent, status)
        self._note_sent(status=status)

    def upload_files(self, kind: str) -> None:
        """The new and changed files of a folder of the journal, `artifacts` or `tables`."""
        for name, stamp in self.journal.find_files(kind).items():
            sent_stamps = self.sent.get(kind, {})
            if sent_stamps.get(name) != stamp:
                path = self.journal.folder / kind / name
                self.file_uploader.upload(path, posixpath.dirname(name))
                self._note_sent(**{kind: sent_stamps | {name: stamp}})

    def upload_tables(self) -> None:
        """The files of tables, and the tag by which MLflow's interface finds them.

        `MlflowClient.log_table` would append to what an earlier attempt has sent.
        """
        self.upload_files("tables")
        listed = [{"path": name, "type": "table"} for name in self.sent.get("tables", {})]
        if listed and self.sent.get("listed") != listed:
            self.client.set_tag(self.run, "mlflow.loggedArtifacts", json.dumps(listed))
            self._note_sent(listed=listed)

    def upload_model(self) -> None:
        """The model folder, as a logged model of this run."""
        folder = self.journal.folder / "model"
        files = self.journal.find_files("model")
        if not files or self.sent.get("model") == files:
            return
        # A model goes where the run's files go, so these must arrive.
        self.file_uploader.check(folder / "MLmodel", "model")

        # 1. Find the logged model of an earlier attempt, or create it. A name may have no dots.
        query = f"source_run_id = '{self.run}'"
        found = self.client.search_logged_models([self.experiment], query)
        if found:
            logged = found[0]
        else:
            name = self.journal.about["name"].replace(".", "_")
            logged = self.client.create_logged_model(self.experiment, name, self.run)

        # 2. Write into the model's own description where it is now.
        description = Model.load(str(folder))
        description.model_id = logged.model_id
        description.model_uuid = logged.model_id
        description.run_id = self.run
        description.artifact_path = logged.artifact_location
        description.save(str(folder / "MLmodel"))

        # 3. Upload it, and link it to the run.
        self.client.log_model_artifacts(logged.model_id, str(folder))
        self.client.finalize_logged_model(logged.model_id, "READY")
        self.client.log_outputs(self.run, [LoggedModelOutput(logged.model_id, 0)])
        self._note_sent(model=self.journal.find_files("model"))

    def _claim_run(self, id: str, name: str, started: int) -> str:
        """MLflow's id of the run with this `cion.id`; one is created if there is none.

        Machines that create it at the same moment cannot see one another's. So all that there are
        become one: the earliest. The children of the others become its children.
        """
        query = f"tags.`cion.id` = '{id}'"
        found = server.search_runs(self.client, self.experiment, query)
        if not found:
            tags = {"cion.id": id, "mlflow.source.name": "cion"}
            created = self.client.create_run(self.experiment, started, tags, name)
            # Another program's JSON reads as an answer with empty fields.
            if not created.info.run_id:
                raise MlflowException("the answers are JSON, but no MLflow server's")
            found = server.search_runs(self.client, self.experiment, query) or [created]

        first, *others = sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))
        for other in others:
            self._move_children(other.info.run_id, first.info.run_id)
            self.client.delete_run(other.info.run_id)
        return first.info.run_id

    def _move_children(self, old_parent: str, new_parent: str) -> None:
        """Make the children of one run children of another."""
        query = f"tags.`{PARENT_TAG}` = '{old_parent}'"
        for child in server.search_runs(self.client, self.experiment, query):
            self.client.set_tag(child.info.run_id, PARENT_TAG, new_parent)

    def _claim_parent(self) -> str | None:
        """MLflow's id of the reproduction that this run belongs to, None outside of one.

        It is created if there is none.
        """
        about = self.journal.about
        reproduction = about["reproduction"]
        if reproduction is None:
            return None
        return self._claim_run(reproduction, dated_title(about), about["resumed"])

    def _leave_parent(self, new_parent: str) -> None:
        """End the reproduction in which this run was killed or failed, if that was another one."""
        tags = self.client.get_run(self.run).data.tags
        old_parent = tags.get(PARENT_TAG, new_parent)
        if old_parent != new_parent:
            self._end_if_running(old_parent, "KILLED")

    def _end_if_running(self, reproduction: str, status: str) -> None:
        """End a parent run that nothing else has ended."""
        run = self.client.get_run(reproduction)
        if run.info.status == "RUNNING":
            self.client.set_terminated(reproduction, status)

    def _note_sent(self, **sent) -> None:
        """Note what a request has uploaded.

        Raises:
            TimeoutError: the deadline is over, so no further request may begin.
        """
        self.has_changed = True
        self.sent |= sent
        work.write_json(self.journal.folder / "sent.json", self.sent)
        if time.monotonic() > self.deadline:
            raise TimeoutError("MLflow takes too long")
