"""One stage as DVC runs it in this folder, and as a flow of its own that a worker of a pool takes.

The flow `stage` is what prefect.yaml deploys once for each work pool. It runs in the worker's
folder. If that is another one than the flow's that has sent it, it takes what the stage needs from
the DVC remote, and pushes there what the stage has made; `flows.orders` says how.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import yaml
from prefect import flow, get_run_logger
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.exceptions import PrefectHTTPStatusError

from cion_core import work
from cion_core.training import stop
from flows import commands, orders
from flows.commands import StageFailed
from flows.orders import Order

RESUME = work.ROOT / stop.RESUME
# Between two signs of life.
BEAT_SECONDS = 10.0
FENCE = "```"


@flow(name="stage", flow_run_name="{stage}", retries=0)
def run_for_another_flow(
    stage: str, reproduction: str, order: dict, timeout_minutes: float | None = None
) -> None:
    """A stage of another flow, in this worker's folder.

    Args:
        stage: its address, such as denoise@video.
        reproduction: the name under which MLflow groups the runs.
        order: `flows.orders.Order` as JSON.
        timeout_minutes: after which it is ended, and has failed.

    Raises:
        StageFailed: it did, or this folder is not what the flow runs; with its last lines.
    """
    order = Order(**order)
    same_folder = order.sender == orders.here()
    try:
        with signs_of_life(stage) as progress, commands.folder_to_itself():
            if not same_folder:
                fetch_inputs(order)
            repro(stage, reproduction, progress, timeout_minutes)
            if not same_folder:
                dvc("push", "--run-cache", stage)
                send_entry(orders.entry_of(stage))
    except BaseException:  # cancelled as well
        commands.CHILDREN.stop()
        raise


def fetch_inputs(order: Order) -> None:
    """Bring what the stage needs into this folder, from the order and from the DVC remote."""
    orders.receive_order(order)
    if order.needed:
        dvc("pull", *order.needed)
    orders.check_inputs(order)


def dvc(*arguments: str) -> None:
    """A command of DVC's, its output in the run's log."""
    commands.run(["dvc", *arguments], get_run_logger().info)


def repro(
    stage: str,
    reproduction: str,
    progress: Callable[[float], None] | None = None,
    timeout_minutes: float | None = None,
) -> None:
    """`dvc repro --single-item STAGE`; again where a training that was told to end can go on.

    The file .cion/resume.json says that it has left a checkpoint, since DVC ends with a code of its
    own whatever the stage's was.

    Args:
        stage: its address, such as denoise@video.
        reproduction: the name under which MLflow groups the runs.
        progress: takes the percentage of the stage's progress bar.
        timeout_minutes: after which it is ended, and has failed.

    Raises:
        StageFailed: the command did; with its last lines.
    """
    log = get_run_logger().info
    environment = {"CION_REPRODUCTION": reproduction}
    while True:
        try:
            commands.run(
                ["dvc", "repro", "--single-item", stage],
                log,
                environment,
                progress,
                timeout_minutes,
            )
            return
        except StageFailed:
            if not (RESUME.exists() and json.loads(RESUME.read_text())["stage"] == stage):
                raise
            RESUME.unlink()
            log(f"{stage} was told to end and has left a checkpoint: it goes on from there")


class Progress:
    """The progress artifact of a stage, made when there is something to show."""

    def __init__(self, stage: str) -> None:
        """Nothing is shown yet.

        Args:
            stage: its address, for the artifact's name.
        """
        self._stage, self._artifact, self._percent = stage, None, 0.0
        self._guard = threading.Lock()

    def show(self, percent: float) -> None:
        """Note a percentage; the first one makes the artifact, `beat` sends the others."""
        with self._guard:
            self._percent = percent
            if self._artifact is None:
                key = f"progress-{slug(self._stage)}"
                self._artifact = create_progress_artifact(
                    percent, key, f"The progress bar of {self._stage}"
                )

    def beat(self) -> None:
        """Send the latest percentage; where no server answers, the next beat does."""
        if self._artifact is None:
            return
        try:
            update_progress_artifact(self._artifact, self._percent)
        except (httpx.HTTPError, PrefectHTTPStatusError):
            return


@contextmanager
def progress_shown(stage: str) -> Iterator[Progress]:
    """While inside, the percentage that a stage reports is shown as an artifact, ever anew."""
    shown, ended = Progress(stage), threading.Event()

    def beats() -> None:
        while not ended.wait(BEAT_SECONDS):
            shown.beat()

    thread = threading.Thread(target=beats, name=f"progress of {stage}", daemon=True)
    thread.start()
    try:
        yield shown
    finally:
        ended.set()
        thread.join()
        shown.beat()


@contextmanager
def signs_of_life(stage: str) -> Iterator[Callable[[float], None]]:
    """As `progress_shown`, from the start: the flow that sent the stage sees the worker live."""
    with progress_shown(stage) as shown:
        shown.show(0.0)
        yield shown.show


def send_entry(entry: dict) -> None:
    """Give the stage's entry of dvc.lock to the flow that sent it, as an artifact."""
    text = yaml.safe_dump(entry, sort_keys=False)
    create_markdown_artifact(
        f"{FENCE}yaml\n{text}{FENCE}", description="What dvc.lock says of this stage"
    )


def parse_entry(text: str) -> dict:
    """The entry in such an artifact."""
    return yaml.safe_load(text.removeprefix(f"{FENCE}yaml\n").removesuffix(FENCE))


def slug(text: str) -> str:
    """Lower-case letters, digits and dashes, as Prefect wants keys."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
