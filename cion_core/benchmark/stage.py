"""The benchmark stage: the labelled set of fine-tuning and evaluation, in whatever layout it comes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cion_core import rendered, tables, work
from cion_core.benchmark.checks import check
from cion_core.benchmark.labels import DISTRACTOR, SPLITS, findable, labels
from cion_core.benchmark.layouts import LAYOUTS
from cion_core.benchmark.layouts.base import Layout
from cion_core.benchmark.reading import digests
from cion_core.benchmark.settings import Benchmark
from cion_core.errors import CionError
from cion_core.progress import say
from cion_core.runtime import Runtime


def run(p: Benchmark, runtime: Runtime = Runtime(), root: Path = Path("data")) -> None:
    """Write root/benchmark: images.parquet, benchmark.json, and the rendered images of a source with a world.yaml.

    A folder of the user's is referenced where it lies, and every image of it is read once: one that is broken is
    better known now than after the pre-training.
    """
    source, out = Path(p.source), root / "benchmark"
    if not source.is_dir():
        raise CionError(
            f"benchmark.source: no folder {source}; valid: one with a {rendered.FILE}, such as demo, or one in the "
            f"layout that benchmark.layout names, which is {p.layout} (there are {', '.join(LAYOUTS.names())})"
        )
    if rendered.is_world(source):
        say(f"benchmark: rendering the labelled people of {source}")
        rendered.benchmark(source, out)
        layout, folder = LAYOUTS.named(rendered.LAYOUT)(), out
    else:
        layout, folder = LAYOUTS.named(p.layout)(p.settings(p.layout)).of_folder(source), source
    images = read(layout, folder)
    images = images.assign(sha256=digests(images["path"].tolist()))
    for doubt in check(images, source):
        say(f"benchmark: warning: {doubt}")
    about = describe(images)
    tables.write(tables.Benchmark, images, out / "images.parquet")
    name = {"name": source.resolve().name, "source": p.source, "layout": layout.name}
    work.write_json(out / "benchmark.json", {**name, **about})
    sizes = ", ".join(f"{count} {split}" for split, count in about["images"].items())
    say(f"benchmark: {sizes} images of {about['people']['test']} people to find, {about['cameras']} cameras")
    if about["queries_without_match"]:
        say(
            f"benchmark: {about['queries_without_match']} queries lack an image of their person under another "
            "camera in the gallery; the means leave them out"
        )


def read(layout: Layout, folder: Path) -> pd.DataFrame:
    """The images of a folder by its layout, as tables.Images; CionError where there are none in some split."""
    where = f"{folder}, read in the layout {layout.name}"
    images = tables.validate(tables.Images, layout.read(Path(folder)), where)
    empty = [split for split in SPLITS if not (images["split"] == split).any()]
    if empty:
        raise CionError(f"{where}: no images in {', '.join(empty)}; is benchmark.layout right?")
    return images


def describe(images: pd.DataFrame) -> dict:
    """Counts of a benchmark; `queries_without_match` are those that the protocol leaves out."""
    split = dict(list(images.groupby("split")))
    people = {name: int(part.person[part.person > DISTRACTOR].nunique()) for name, part in split.items()}
    return {
        "people": {"train": people["train"], "test": people["query"]},
        "images": {name: len(split[name]) for name in SPLITS},
        "cameras": int(images["camera"].nunique()),
        "cameras_of": {name: int(split[name]["camera"].nunique()) for name in SPLITS},
        "queries_without_match": int((~findable(labels(split["query"]), labels(split["gallery"]))).sum()),
    }
