"""The benchmark stage: labelled sets, in whatever layout they come."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from cion_core import folders, image_files, rendered, tables, work
from cion_core.benchmark.checks import check
from cion_core.benchmark.labels import DISTRACTOR, SPLITS, findable, labels
from cion_core.benchmark.layouts import LAYOUTS
from cion_core.benchmark.layouts.base import Layout
from cion_core.benchmark.settings import Benchmark
from cion_core.errors import CionError
from cion_core.image_files import ImageFolder
from cion_core.progress import say
from cion_core.runtime import Runtime


def run(p: Benchmark, name: str, runtime: Runtime = Runtime(), root: Path = Path("data")) -> None:
    """Read a labelled set, look at every image of it, and write root/benchmark/NAME.

    A folder of the user's is referenced where it lies. A broken image is better known now than
    after the pre-training: it is set aside and named, here and in benchmark.json. Beside that file
    it writes images.parquet, and the rendered images of a source with a world.yaml.

    Args:
        p: the section `benchmark`.
        name: one of `benchmark.sources`.
        runtime: not used; stages are called alike.
        root: the folder that stages write.

    Raises:
        CionError: there is no such benchmark, or nothing can be learnt or measured on it.
    """
    if name not in p.sources:
        raise CionError(f"benchmark.sources: no benchmark {name}; there are {', '.join(p.sources)}")
    source, out = Path(p.sources[name]), root / "benchmark" / name
    if not source.is_dir():
        raise CionError(
            f"benchmark.sources.{name}: no folder {source}; valid: one with a {rendered.FILE}, "
            f"such as demo, or one in the layout that benchmark.layout names, which is {p.layout} "
            f"(there are {', '.join(LAYOUTS.names())})"
        )
    if rendered.is_world(source):
        say(f"benchmark: rendering the labelled people of {source}")
        rendered.benchmark(source, out)
        layout, folder = LAYOUTS.named(rendered.LAYOUT)(), out
    else:
        folder = folders.portable(source, f"benchmarks/{name}", root)
        layout = LAYOUTS.named(p.layout)(p.settings(p.layout)).of_folder(folder)
    images = read(layout, folder)
    unused = not_used(images, folder, layout.name)
    images, unused = without_nobody(images, unused)
    images, unused = whole(images, unused)
    image_files.tell(f"benchmark {name}", unused)
    if unused.set_aside:
        say(
            f"benchmark {name}: warning: scores are of the other images, so published ones do not "
            "compare"
        )
    for doubt in check(images, source):
        say(f"benchmark: warning: {doubt}")
    about = describe(images)
    tables.write(tables.Benchmark, images, out / "images.parquet")
    told = {"name": name, "source": p.sources[name], "layout": layout.name}
    left = {"set_aside": unused.set_aside, "passed_over": unused.passed_over}
    work.write_json(out / "benchmark.json", {**told, **about, **left})
    sizes = ", ".join(f"{count} {split}" for split, count in about["images"].items())
    say(
        f"benchmark {name}: {sizes} images of {about['people']['test']} people to find, "
        f"{about['cameras']} cameras"
    )
    if about["queries_without_match"]:
        say(
            f"benchmark: {about['queries_without_match']} queries lack an image of their person "
            "under another camera in the gallery; the means leave them out"
        )


def read(layout: Layout, folder: Path) -> pd.DataFrame:
    """Read the images of a folder by its layout.

    Args:
        layout: the layout.
        folder: the folder.

    Returns:
        tables.Images.

    Raises:
        CionError: there are none in some split.
    """
    where = f"{folder}, read in the layout {layout.name}"
    images = tables.validate(tables.Images, layout.read(Path(folder)), where)
    empty = [split for split in SPLITS if not (images["split"] == split).any()]
    if empty:
        raise CionError(f"{where}: no images in {', '.join(empty)}; is benchmark.layout right?")
    return images


def not_used(images: pd.DataFrame, folder: Path, layout: str) -> ImageFolder:
    """What lies beside a benchmark's images and is in no split of it.

    Args:
        images: tables.Images.
        folder: that the layout has read.
        layout: its name.

    Returns:
        No images; `set_aside` and `passed_over`, from the folders that hold images of the
        benchmark.
    """
    known = set(images["path"])
    beside = sorted({Path(path).parent for path in known})
    others = [
        path
        for below in beside
        for path in sorted(below.iterdir())
        if path.is_file() and path.name[0] != "."
    ]
    found = image_files.sort_out(folder, [path for path in others if str(path) not in known])
    strays = {
        str(path): f"no person and camera for it in the layout {layout}" for path in found.paths
    }
    return replace(found, paths=[], set_aside=found.set_aside | strays)


def without_nobody(images: pd.DataFrame, unused: ImageFolder) -> tuple[pd.DataFrame, ImageFolder]:
    """Leave out images of training that show junk or a distractor, of whom nothing can be learnt.

    Args:
        images: tables.Images.
        unused: what else of the folder is not used.

    Returns:
        The others, and `unused` with those that were left out.
    """
    nobody = (images["split"] == "train") & (images["person"] <= DISTRACTOR)
    reasons = dict.fromkeys(
        images["path"][nobody], "an image of training that shows junk or a distractor"
    )
    return images[~nobody].reset_index(drop=True), replace(
        unused, set_aside=unused.set_aside | reasons
    )


def whole(images: pd.DataFrame, unused: ImageFolder) -> tuple[pd.DataFrame, ImageFolder]:
    """Look at every image, and leave out those that cannot be used.

    Args:
        images: tables.Images.
        unused: what else of the folder is not used.

    Returns:
        tables.Benchmark, and `unused` with those that were left out.

    Raises:
        CionError: a split has no image that can be used; it names the first that are damaged.
    """
    digests, reasons = image_files.examine(images["path"].tolist(), "benchmark")
    read = images.assign(sha256=digests)
    usable = read[read["sha256"].notna()].reset_index(drop=True)
    for split in SPLITS:
        if not (usable["split"] == split).any():
            named = [
                f"\n  {path}: {reason}"
                for path, reason in list(reasons.items())[: image_files.NAMED]
            ]
            raise CionError(f"{unused.root}: no image of {split} can be used{''.join(named)}")
    return usable, replace(unused, set_aside=unused.set_aside | reasons)


def describe(images: pd.DataFrame) -> dict:
    """Counts of a benchmark; `queries_without_match` are those that the protocol leaves out."""
    split = dict(list(images.groupby("split")))
    people = {
        name: int(part.person[part.person > DISTRACTOR].nunique()) for name, part in split.items()
    }
    return {
        "people": {"train": people["train"], "test": people["query"]},
        "images": {name: len(split[name]) for name in SPLITS},
        "cameras": int(images["camera"].nunique()),
        "cameras_of": {name: int(split[name]["camera"].nunique()) for name in SPLITS},
        "queries_without_match": int(
            (~findable(labels(split["query"]), labels(split["gallery"]))).sum()
        ),
    }
