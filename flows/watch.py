"""The flow `watch`: looks for new videos in the source folder, and reproduces if there are any.

The look is cheap: `list` reads the names, sizes and times of the clips, and hashes those that it
has not seen. If what it writes is what the last ingest has read, the flow ends. Where
`denoise.earlier` names a folder, that folder is first renewed from the present result, so that
denoising goes on from it and takes the new videos alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from dvc.repo import Repo
from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from cion_core import params, work
from flows import commands, orders
from flows.reproduce import reproduce
from flows.stage import repro

RESULT = Path("data/denoise")
DENOISE_STAGES = ("denoise@tracklet", "denoise@video", "denoise@cross_video")


@flow(name="watch")
def watch(targets: list[str] | None = None, retries: int = 1) -> bool:
    """Reproduce if the source folder holds other videos than the last ingest has read.

    Args:
        targets: as of `reproduce`.
        retries: of a failing stage.

    Returns:
        Whether there was anything new.
    """
    log = get_run_logger().info
    try:
        with commands.folder_to_itself():
            repro("list", f"prefect-{flow_run.id}")
            if orders.is_made("ingest"):
                log("no new videos")
                return False
            log("there are new videos, or others than before")
            earlier = params.read()["denoise"].get("earlier")
            if earlier is not None:
                renew(Path(earlier))
                log(f"{earlier} is now the present result, which denoising goes on from")
    except BaseException:
        commands.CHILDREN.stop()
        raise
    reproduce(targets, retries)
    return True


def renew(earlier: Path) -> None:
    """Let `earlier` be a copy of the present result of denoising, if that is whole.

    A run that was stopped between two levels leaves levels that do not belong together: each must
    have been made from what the one before it holds now. Then the copy stays as it is, and takes in
    all videos since.
    """
    if not levels_belong_together():
        get_run_logger().warning(f"{RESULT} was left half made: {earlier} stays as it is")
        return
    with work.replaced(earlier) as temporary:
        shutil.copytree(RESULT, temporary)


def levels_belong_together() -> bool:
    """Whether each level is as dvc.lock has it, made from what the one before it holds now."""
    with Repo() as repo:
        for name in DENOISE_STAGES:
            (level,) = repo.stage.collect(name)
            before = [dep for dep in level.deps if Path(dep.def_path).is_relative_to(RESULT)]
            if any(part.workspace_status() for part in (*level.outs, *before)):
                return False
    return True
