"""Embedding on all machines of a Ray cluster.

Chunks of crops are jobs, and end as files of the work folder, which `kept.read_chunks` reads:

    colours of each chunk ──→ one balance ──→ features of each chunk ──→ files

A chunk has the batches that it has on one machine, so its features are the same, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cion_core import crew, tables
from cion_core.cluster import fleet
from cion_core.cluster.shared_folder import wait_for_files
from cion_core.crops import CropStore
from cion_core.embed import kept
from cion_core.embed.balance import Balance, compute_balance, measure_colours
from cion_core.embed.batches import batches
from cion_core.embed.embedders.base import Embedder
from cion_core.embed.model import load_embedder
from cion_core.errors import CionError
from cion_core.progress import bar
from cion_core.runtime import Runtime

STORED = ["crop", "shard", "offset", "size"]  # the columns by which a crop is read
COLOURS_AT_ONCE = 1024  # crops whose colours are counted in one job
SILENCE = 3600.0  # seconds that a batch may take


@dataclass(frozen=True)
class Chunk:
    """A job: crops that follow each other.

    Attributes:
        rows: theirs in the whole table.
        table: these rows of it.
        shards: the folder of the tars.
        balance: of these rows; None: colours stay as they are.
    """

    rows: range
    table: pd.DataFrame
    shards: Path
    balance: Balance | None

    def reader(self) -> Callable[[int], np.ndarray]:
        """What reads the crop of a row, counted from 0 in the chunk, as RGB uint8 [H, W, 3]."""
        read = CropStore(self.shards, self.table).read
        if self.balance is None:
            return read
        return lambda row: self.balance(read(row), row)


@dataclass(frozen=True)
class Footage:
    """All crops (tables.Crops), and the folder of their tars."""

    crops: pd.DataFrame
    shards: Path

    def chunk(self, start: int, size: int, balance: Balance | None = None) -> Chunk:
        """Make a job.

        Args:
            start: its first row.
            size: of how many rows; less at the end of the table.
            balance: of all crops; None: colours stay as they are.
        """
        rows = range(start, min(start + size, len(self.crops)))
        table = self.crops[STORED].iloc[rows.start : rows.stop]
        return Chunk(rows, table, self.shards, None if balance is None else balance.part(rows))


def placed(runtime: Runtime) -> Runtime:
    """Choose what the machines of the cluster embed on: GPUs where there are any, all or none.

    Args:
        runtime: the settings of this machine.

    Returns:
        `runtime` with that device.
    """
    device = "cuda" if runtime.device != "cpu" and fleet.has_gpus() else "cpu"
    return runtime.model_copy(update={"device": device})


def embed_chunks(
    footage: Footage, with_balance: bool, model: Path, runtime: Runtime, folder: Path
) -> None:
    """Let `folder` have the features of all crops, as `kept.embed_all` would leave them there.

    Args:
        footage: the crops.
        with_balance: whether their colours are balanced first.
        model: the model folder.
        runtime: as `placed` has made it.
        folder: a work folder of this embedder and these crops alone, which all machines see. Chunks
            that lie there are not made again.

    Raises:
        CionError: a crop cannot be read; a feature is not finite; a worker died twice on a chunk;
            no cluster.
    """
    size = kept.chunk_size(runtime.batch)
    n = len(footage.crops)
    starts = range(0, n, size)
    missing = [start for start in starts if not kept.chunk_file(start, folder).exists()]
    if not missing:
        return
    balance = _balance(footage, runtime) if with_balance else None
    chunks = (footage.chunk(start, size, balance) for start in missing)
    function = partial(_embed, batch=runtime.batch, folder=folder)
    setup = partial(load_embedder, model, runtime)
    with bar("embed", "image", sum(min(size, n - start) for start in missing)) as progress:
        for _ in _outcomes(chunks, function, setup, runtime, progress.update):
            pass
    wait_for_files(kept.chunk_file(start, folder) for start in missing)


def _balance(footage: Footage, runtime: Runtime) -> Balance:
    """What `embed.balance.measure_balance` finds, on all machines."""
    n = len(footage.crops)
    colours = np.empty((n, 3, 3))
    chunks = (footage.chunk(start, COLOURS_AT_ONCE) for start in range(0, n, COLOURS_AT_ONCE))
    on_cpu = runtime.model_copy(update={"device": "cpu"})
    with bar("balance colours", "crop", n) as progress:
        for outcome in _outcomes(chunks, _measure, None, on_cpu, progress.update):
            colours[outcome.job.rows] = outcome.result
    views = tables.camera_views(footage.crops).to_numpy(object)
    return compute_balance(views, colours)


def _outcomes(
    chunks: Iterable[Chunk],
    function: Callable[[Chunk, Any, crew.Report], Any],
    setup: Callable[[], Any] | None,
    runtime: Runtime,
    report: Callable[[int], None],
) -> Iterator[crew.Outcome]:
    """The outcomes of all chunks; CionError where there is none of one."""
    on_gpus = runtime.device == "cuda"
    equip = partial(_equip, orders=crew.Orders(function, setup, SILENCE))
    for outcome in fleet.work(chunks, equip, gpus=on_gpus, report=report):
        if outcome.failure:
            rows = outcome.job.rows
            raise CionError(
                f"embed: crops of rows {rows.start} to {rows.stop - 1}: {outcome.failure}"
            )
        yield outcome


@contextmanager
def _equip(cores: int, orders: crew.Orders) -> Iterator[crew.Equipment]:
    """One process a machine or GPU, which has threads of its own that read crops."""
    yield crew.Equipment(orders, processes=1)


def _measure(chunk: Chunk, _: None, report: crew.Report) -> np.ndarray:
    """In a worker: float64 [n, 3, 3], as `measure_colours` counts them."""
    read = chunk.reader()
    found = []
    for row in range(len(chunk.rows)):
        found.append(measure_colours(read(row)))
        report(1)
    return np.array(found)


def _embed(chunk: Chunk, embedder: Embedder, report: crew.Report, batch: int, folder: Path) -> None:
    """In a worker: write the features of a chunk."""
    features = np.empty((len(chunk.rows), embedder.dim), np.float16)

    def name_row(row: int) -> str:
        return f"row {chunk.rows[row]}"

    read = chunk.reader()
    for start, part in batches(embedder, read, len(features), batch, "embed", name_row=name_row):
        features[start : start + len(part)] = part
        report(len(part))
    kept.write_chunk(features, chunk.rows.start, folder)
