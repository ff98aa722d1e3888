"""The benchmark stage: labelled sets, in whatever layout they come."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from cion_core import folders, image_files, rendered, tables, work
from cion_core.benchmark.checks import check
from cion_core.benchmark.labels import DISTRACTOR, SPLITS, Labels, findable, people_in
from cion_core.benchmark.layouts import LAYOUTS
from cion_core.benchmark.layouts.base import Layout
from cion_core.benchmark.settings import Benchmark
from cion_core.errors import CionError
from cion_core.image_files import ImageFolder
from cion_core.progress import say
from cion_core.runtime import Runtime


def run(
    section: Benchmark, name: str, runtime: Runtime = Runtime(), root: Path = Path("data")
) -> None:
    """Read a labelled set, look at every image of it, and write root/benchmark/NAME.

    A folder of the user's is referenced where it lies. A broken image is better known now than
    after the pre-training: it is set aside and named, here and in benchmark.json. Beside that file
    it writes images.parquet, and the rendered images of a source with a world.yaml.

    Args:
        section: the section `benchmark`.
        name: one of `benchmark.sources`.
        runtime: not used; stages are called alike.
        root: the folder that stages write.

    Raises:
        CionError: there is no such benchmark, or nothing can be learnt or measured on it.
    """
    source = _find_source(section, name)
    out = root / "benchmark" / name
    layout, folder = _choose_layout(section, name, source, root)

    # 1. Which images there are.
    images = read_layout(layout, folder)
    unused = list_unused(images, folder, layout.name)
    images, unused = drop_nobody_from_training(images, unused)

    # 2. Which of them can be used.
    images, unused = examine_images(images, unused)
    image_files.tell(f"benchmark {name}", unused)
    if unused.set_aside:
        say(
            f"benchmark {name}: warning: scores are of the other images, so published ones do not "
            "compare"
        )
    for doubt in check(images, source):
        say(f"benchmark: warning: {doubt}")

    # 3. The table, and what it holds.
    counts = describe(images)
    origin = {"name": name, "source": section.sources[name], "layout": layout.name}
    unused_files = {"set_aside": unused.set_aside, "passed_over": unused.passed_over}
    tables.write(tables.Benchmark, images, out / "images.parquet")
    work.write_json(out / "benchmark.json", {**origin, **counts, **unused_files})
    _say_counts(name, counts)


def _find_source(section: Benchmark, name: str) -> Path:
    """The folder that a benchmark is read from; CionError where there is none."""
    if name not in section.sources:
        known = ", ".join(section.sources)
        raise CionError(f"benchmark.sources: no benchmark {name}; there are {known}")
    source = Path(section.sources[name])
    if not source.is_dir():
        raise CionError(
            f"benchmark.sources.{name}: no folder {source}; valid: one with a {rendered.FILE}, "
            "such as demo, or one in the layout that benchmark.layout names, which is "
            f"{section.layout} (there are {', '.join(LAYOUTS.names())})"
        )
    return source


def _choose_layout(section: Benchmark, name: str, source: Path, root: Path) -> tuple[Layout, Path]:
    """The layout of a benchmark, and the folder that lies so; a demo world is rendered first."""
    if rendered.is_world(source):
        out = root / "benchmark" / name
        say(f"benchmark: rendering the labelled people of {source}")
        rendered.benchmark(source, out)
        layout = LAYOUTS.named(rendered.LAYOUT)()
        return layout, out
    folder = folders.portable(source, f"benchmarks/{name}", root)
    named = LAYOUTS.named(section.layout)
    layout = named(section.settings(section.layout))
    return layout.of_folder(folder), folder


def read_layout(layout: Layout, folder: Path) -> pd.DataFrame:
    """Read the images of a folder by its layout.

    Args:
        layout: how the folder is laid out.
        folder: the folder of the labelled set.

    Returns:
        tables.Images.

    Raises:
        CionError: there are none in some split.
    """
    where = f"{folder}, read in the layout {layout.name}"
    images = tables.validate(tables.Images, layout.read(Path(folder)), where)
    present = set(images["split"])
    empty = [split for split in SPLITS if split not in present]
    if empty:
        raise CionError(f"{where}: no images in {', '.join(empty)}; is benchmark.layout right?")
    return images


def list_unused(images: pd.DataFrame, folder: Path, layout: str) -> ImageFolder:
    """List what lies beside a benchmark's images and is in no split of it.

    Args:
        images: tables.Images.
        folder: that the layout has read.
        layout: its name.

    Returns:
        No images; `set_aside` and `passed_over`, from the folders that hold images of the
        benchmark.
    """
    known = set(images["path"])
    image_folders = sorted({Path(path).parent for path in known})
    others: list[Path] = []
    for image_folder in image_folders:
        files = _visible_files(image_folder)
        others += [path for path in files if str(path) not in known]
    found = image_files.sort_out(folder, others)
    reason = f"no person and camera for it in the layout {layout}"
    strays = {str(path): reason for path in found.paths}
    return replace(found, paths=[], set_aside=found.set_aside | strays)


def _visible_files(folder: Path) -> list[Path]:
    """The files right in a folder, sorted; hidden ones are left out."""
    entries = sorted(folder.iterdir())
    return [path for path in entries if path.is_file() and not path.name.startswith(".")]


def drop_nobody_from_training(
    images: pd.DataFrame, unused: ImageFolder
) -> tuple[pd.DataFrame, ImageFolder]:
    """Leave out images of training that show junk or a distractor, of whom nothing can be learnt.

    Args:
        images: tables.Images.
        unused: what else of the folder is not used.

    Returns:
        The others, and `unused` with those that were left out.
    """
    nobody = (images["split"] == "train") & (images["person"] <= DISTRACTOR)
    reason = "an image of training that shows junk or a distractor"
    reasons = dict.fromkeys(images["path"][nobody], reason)
    others = images[~nobody].reset_index(drop=True)
    return others, replace(unused, set_aside=unused.set_aside | reasons)


def examine_images(images: pd.DataFrame, unused: ImageFolder) -> tuple[pd.DataFrame, ImageFolder]:
    """Look at every image, add its hash, and leave out those that cannot be used.

    Args:
        images: tables.Images.
        unused: what else of the folder is not used.

    Returns:
        tables.Benchmark, and `unused` with those that were left out.

    Raises:
        CionError: a split has no image that can be used; it names the first that are damaged.
    """
    digests, reasons = image_files.examine(images["path"].tolist(), "benchmark")
    examined = images.assign(sha256=digests)
    is_usable = examined["sha256"].notna()
    usable = examined[is_usable].reset_index(drop=True)
    present = set(usable["split"])
    for split in SPLITS:
        if split not in present:
            first = list(reasons.items())[: image_files.NAMED]
            damaged = "".join(f"\n  {path}: {reason}" for path, reason in first)
            raise CionError(f"{unused.root}: no image of {split} can be used{damaged}")
    return usable, replace(unused, set_aside=unused.set_aside | reasons)


def describe(images: pd.DataFrame) -> dict:
    """Count what a benchmark holds.

    Args:
        images: tables.Benchmark; each split has rows.

    Returns:
        People of training and of query; images and cameras of each split; all cameras; and
        `queries_without_match`, the queries that the protocol leaves out.
    """
    by_split = {split: images[images["split"] == split] for split in SPLITS}
    people_of = {split: len(people_in(part)) for split, part in by_split.items()}
    images_of = {split: len(part) for split, part in by_split.items()}
    cameras_of = {split: part["camera"].nunique() for split, part in by_split.items()}
    is_findable = findable(Labels.of(by_split["query"]), Labels.of(by_split["gallery"]))
    return {
        "people": {"train": people_of["train"], "test": people_of["query"]},
        "images": images_of,
        "cameras": images["camera"].nunique(),
        "cameras_of": cameras_of,
        "queries_without_match": int((~is_findable).sum()),
    }


def _say_counts(name: str, counts: dict) -> None:
    sizes = ", ".join(f"{count} {split}" for split, count in counts["images"].items())
    say(
        f"benchmark {name}: {sizes} images of {counts['people']['test']} people to find, "
        f"{counts['cameras']} cameras"
    )
    unmatched = counts["queries_without_match"]
    if unmatched:
        say(
            f"benchmark: {unmatched} queries lack an image of their person "
            "under another camera in the gallery; the means leave them out"
        )
