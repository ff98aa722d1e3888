"""What stages depend on outside DVC's sight, as files that it can see. The first stage writes them.

It always runs, and writes::

    data/listing/videos.json             the clips of ingest.source: names, sizes, hashes
    data/listing/benchmarks/NAME.json    likewise the files of each of benchmark.sources
    data/listing/earlier.json            likewise those of denoise.earlier
    data/listing/confidence/METHOD.json  pretrain.min_confidence, for the methods that go by it; and
                                         the files that a method names in its settings
    data/listing/studies.json            the tables of studies, which the report shows, but does not
                                         wait for
    data/listing/parts/KIND/NAME/        links to the files that a part named in params.yaml is made
    of

Beside them, data/sources/videos and data/sources/benchmarks/NAME are links to your folders on this
machine. Tables name your files by these, and so say the same on each machine.

A folder of yours is no dependency itself, since DVC stops at the first broken link or unreadable
file in it. Here that is an entry with a reason. Hashes are kept with size and time in .cion, so
that a second run reads nothing. A stage that uses one part depends on that part's folder. DVC
follows the links, so it sees an edited file at once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from cion_core import folders, progress, rendered, work
from cion_core.benchmark.layouts import LAYOUTS
from cion_core.denoise.linking.rules import RULES
from cion_core.embed import model
from cion_core.embed.embedders import EMBEDDERS
from cion_core.errors import CionError, is_unicode, printable
from cion_core.extract.detectors import DETECTORS
from cion_core.extract.trackers import TRACKERS
from cion_core.file_hashes import NOT_UTF8, describe_files
from cion_core.finetune.recipes import RECIPES
from cion_core.ingest import footage, sequence
from cion_core.pretrain.methods import METHODS
from cion_core.pretrain.settings import Pretrain
from cion_core.project import Params
from cion_core.registry import Kind

PROJECT = Path(__file__).parent.parent


def run(params: Params, root: Path = Path("data")) -> None:
    """Write root/listing. Every byte of it depends on what is listed alone.

    Args:
        params: all of params.yaml.
        root: the folder that stages write.

    Raises:
        CionError: a folder that params.yaml names is not there, or a part is not.
    """
    out = root / "listing"
    footage_source = params.ingest.source
    benchmark_sources = params.benchmark.sources
    work.write_json(out / "videos.json", list_videos(footage_source))
    list_benchmarks(benchmark_sources, out / "benchmarks")
    folders.portable(footage_source, "videos", root)
    for name, source in benchmark_sources.items():
        folders.portable(source, f"benchmarks/{name}", root)
    work.write_json(out / "earlier.json", list_earlier(params.denoise.earlier))
    list_confidence(params.pretrain, out / "confidence")
    work.write_json(out / "studies.json", list_studies(root))
    link_parts(params, out / "parts")


# 1. Files of the user's.


def list_videos(source: str) -> dict:
    """List what `ingest.source` holds.

    Returns:
        {source, world: {world.yaml: SHA-256}}; or {source, files, passed_over}: the entries of its
        clips and sequences by name, and how many other files there are, by suffix. A sequence's
        entry has `fps` as well, None where it does not tell, and `at`, where it lies, if that is
        not its name.
    """
    folder = _find_folder("ingest.source", source, "of videos, or one with a world.yaml")
    if rendered.is_world(folder):
        return _list_world(source, folder)
    found = footage.find(folder)
    files = describe_files(folder, found.clips)
    files += [_describe_sequence(folder, images) for images in found.sequences]
    if found.passed_over:
        progress.say(f"list {source}: {footage.in_words(found.passed_over)}")
    by_name = sorted(files, key=lambda file: file["name"])
    return {"source": source, "files": by_name, "passed_over": found.passed_over}


def list_benchmarks(sources: dict[str, str], out: Path) -> None:
    """Make `out` hold a file for each of `benchmark.sources`, and nothing else.

    A file is as of `list_videos`, with every file that is not hidden, since a layout may read any.

    Args:
        sources: folders by the names of their benchmarks.
        out: the folder to write.
    """
    listings = {out / f"{name}.json": name for name in sources}
    _remove_others(out, listings)
    for path, name in listings.items():
        source = sources[name]
        what = "of labelled people, or one with a world.yaml"
        folder = _find_folder(f"benchmark.sources.{name}", source, what)
        if rendered.is_world(folder):
            listed = _list_world(source, folder)
        else:
            listed = {"source": source, "files": describe_files(folder, folders.files(folder))}
        work.write_json(path, listed)


def list_earlier(source: str | None) -> dict:
    """{source, files} of `denoise.earlier`; {} where no earlier result is named."""
    if source is None:
        return {}
    what = "that an earlier data/denoise was copied to"
    folder = _find_folder("denoise.earlier", source, what)
    return {"source": source, "files": describe_files(folder, folders.files(folder))}


def _describe_sequence(source: Path, folder: Path) -> dict:
    """Describe a folder of images that is a video; its hash is of its images' descriptions."""
    name = folder.relative_to(source).as_posix()
    # The source itself can be the sequence. It is then called as its folder is.
    place = {"name": source.resolve().name, "at": "."} if name == "." else {"name": name}
    if not is_unicode(name):
        return {"name": printable(name), "reason": NOT_UTF8}
    try:
        rate = sequence.frame_rate(folder)
        images = sequence.find_images(folder)
    except sequence.BadVideo as error:
        return {**place, "reason": str(error)}
    files = describe_files(folder, images.paths)
    size = sum(file.get("size", 0) for file in files)
    digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    return {**place, "size": size, "sha256": digest, "fps": rate}


def _list_world(source: str, folder: Path) -> dict:
    """A world of the demo is its description alone, since all else is rendered from that."""
    digest = work.sha256(folder / rendered.FILE)
    return {"source": source, "world": {rendered.FILE: digest}}


def _find_folder(key: str, source: str, what: str) -> Path:
    """The folder that params.yaml names.

    Args:
        key: where in params.yaml.
        source: what stands there.
        what: which folder it should be, for the message.

    Raises:
        CionError: it is none.
    """
    path = Path(source)
    if not source.strip():
        raise CionError(f"{key}: is empty; name a folder {what}")
    if source.startswith("~"):
        full = path.expanduser()
        raise CionError(f"{key} {source}: ~ is not known here; write the folder out: {full}")
    if not path.is_dir():
        fault = "no such folder"
        if path.is_file():
            fault = "is a file; name the folder that it lies in"
        raise CionError(f"{key} {source}: {fault} (a folder {what})")
    if Path("data").resolve().is_relative_to(path.resolve()):
        raise CionError(
            f"{key} {source}: what CION writes lies in it (data/); name a folder {what}"
        )
    return path


def _remove_others(folder: Path, wanted: dict[Path, object]) -> None:
    """Remove the files of a folder that are not wanted any more."""
    for path in folder.glob("*"):
        if path not in wanted:
            path.unlink()


# 2. Settings and results that only some stages depend on.


def list_studies(root: Path) -> dict[str, str]:
    """The studies that have been run, by the SHA-256 of what they found.

    If the report depended on the studies' tables, DVC would run all other studies for it.
    """
    tables = (root / "reports/studies").glob("[!.]*.json")
    return {path.stem: work.sha256(path) for path in sorted(tables)}


def list_confidence(pretrain: Pretrain, out: Path) -> None:
    """Make `out` hold a file for each method of pre-training, and nothing else.

    So a method that does not go by links across videos is not trained again when
    `pretrain.min_confidence` is changed, and one that names files is, when a file is.

    Args:
        pretrain: the section.
        out: the folder to write.
    """
    listings = {out / f"{name}.json": name for name in pretrain.methods}
    described = {path: _describe_method(pretrain, name) for path, name in listings.items()}
    _remove_others(out, listings)
    for path, description in described.items():
        work.write_json(path, description)


def _describe_method(pretrain: Pretrain, name: str) -> dict:
    """{min_confidence, and, if the method's settings name any, files: {backbone: entry}}."""
    by_links = METHODS.named(name).labels == "cross_video"
    description = {"min_confidence": pretrain.min_confidence if by_links else None}
    files = {}
    for backbone, file in getattr(pretrain.settings(name), "files", {}).items():
        path = Path(file)
        (files[backbone],) = describe_files(path.parent, [path])
    if files:
        description["files"] = files
    return description


# 3. Parts that params.yaml names.


def link_parts(params: Params, out: Path) -> None:
    """Make `out` hold a folder of links for each part that params.yaml names, and nothing else.

    Args:
        params: all of params.yaml.
        out: the folder to write.
    """
    wanted: dict[Path, Path] = {}
    for kind, name, files in _find_named_parts(params):
        for file in files:
            wanted[out / kind / name / _find_place(file)] = file.resolve()

    # In reverse order what lies in a folder comes before the folder.
    for path in sorted(out.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in wanted:
            path.unlink()

    for link, file in wanted.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        # From where the link really lies, for the data folder may itself be a link.
        target = os.path.relpath(file, link.parent.resolve())
        if not link.is_symlink() or os.readlink(link) != target:
            link.unlink(missing_ok=True)
            link.symlink_to(target)


def _find_named_parts(params: Params) -> Iterator[tuple[str, str, list[Path]]]:
    """(folder of the kind, name in params.yaml, files) of every part that params.yaml names."""
    detector = params.extract.detector
    tracker = params.extract.tracker
    embedder = model.embedder_name(model.folder_of(params.embed))
    rule = params.denoise.linking
    layout = params.benchmark.layout
    recipes = {name: run.recipe for name, run in params.finetune.runs.items()}
    # For each kind {name in params.yaml: part}. They differ where something else names the part.
    chosen: list[tuple[str, Kind, dict[str, str]]] = [
        ("detectors", DETECTORS, {detector: detector}),
        ("trackers", TRACKERS, {tracker: tracker}),
        ("embedders", EMBEDDERS, {params.embed.model: embedder}),
        ("linking", RULES, {rule: rule}),
        ("layouts", LAYOUTS, {layout: layout}),
        ("methods", METHODS, {method: method for method in params.pretrain.methods}),
        ("runs", RECIPES, recipes),
    ]
    for folder, kind, parts in chosen:
        for name, part in parts.items():
            yield folder, name, kind.files(part)


def _find_place(file: Path) -> Path:
    """Where a file lies in the project; its name alone where it lies elsewhere."""
    for base in (Path.cwd(), PROJECT):
        if file.is_relative_to(base):
            return file.relative_to(base)
    return Path(file.name)
