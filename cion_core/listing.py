"""What stages depend on that lies outside DVC's sight, as files that it can see: the first stage, which always runs::

    data/listing/videos.json       the clips of ingest.source: names, sizes, hashes
    data/listing/benchmarks/NAME.json  likewise the files of each of benchmark.sources
    data/listing/earlier.json      likewise those of denoise.earlier
    data/listing/confidence/METHOD.json  pretrain.min_confidence, for the methods that it matters to; and the files
                                   that a method names in its settings
    data/listing/studies.json      the tables of studies, which the report shows, but does not wait for
    data/listing/parts/KIND/NAME/  links to the files that a part named in params.yaml is made of

Beside them, data/sources/videos and data/sources/benchmarks/NAME are links to your folders on this machine: tables name
what lies in them by these, and so say the same on each machine.

A folder of the user's is no dependency itself, since DVC stops at the first broken link or unreadable file in it:
here that is an entry with a reason. Hashes are kept with size and time in .cion, so that a second run reads nothing.
A stage that uses one part depends on that part's folder; DVC follows the links, and sees an edited file at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cion_core import folders, progress, rendered, work
from cion_core.benchmark.layouts import LAYOUTS
from cion_core.denoise.linking.rules import RULES
from cion_core.embed import model
from cion_core.embed.embedders import EMBEDDERS
from cion_core.errors import CionError, is_unicode, printable
from cion_core.extract.detectors import DETECTORS
from cion_core.extract.trackers import TRACKERS
from cion_core.finetune.recipes import RECIPES
from cion_core.ingest import footage, sequence
from cion_core.pretrain.methods import METHODS
from cion_core.pretrain.settings import Pretrain
from cion_core.project import Params
from cion_core.registry import Kind

HASHES = Path("hashes.json")  # below .cion: {absolute path: [size, mtime in ns, inode, SHA-256]}
PROJECT = Path(__file__).parent.parent


def run(p: Params, root: Path = Path("data")) -> None:
    """Write root/listing, of which every byte depends on what is listed alone.

    Raises:
        CionError: a folder that params.yaml names is not there, or a part is not.
    """
    out = root / "listing"
    work.write_json(out / "videos.json", videos(p.ingest.source))
    benchmarks(p.benchmark.sources, out / "benchmarks")
    folders.portable(p.ingest.source, "videos", root)
    for name, source in p.benchmark.sources.items():
        folders.portable(source, f"benchmarks/{name}", root)
    work.write_json(out / "earlier.json", earlier(p.denoise.earlier))
    confidence(p.pretrain, out / "confidence")
    work.write_json(out / "studies.json", studies(root))
    parts(p, out / "parts")


def studies(root: Path) -> dict[str, str]:
    """The studies that have been run, by the SHA-256 of what they found. DVC would run all others for the report if it
    depended on them."""
    return {path.stem: work.sha256(path) for path in sorted((root / "reports/studies").glob("[!.]*.json"))}


def confidence(p: Pretrain, out: Path) -> None:
    """Make `out` hold a file for each method: one that does not go by links across videos is not trained again when
    `pretrain.min_confidence` is another, and one that names files is, when one of these is another."""
    wanted = {out / f"{name}.json": _given(p, name) for name in p.methods}
    for path in set(out.glob("*")) - set(wanted):
        path.unlink()
    for path, given in wanted.items():
        work.write_json(path, given)


def _given(p: Pretrain, name: str) -> dict:
    """{min_confidence, and, if the method's settings name any, files: {backbone: entry}}."""
    matters = METHODS.named(name).labels == "cross_video"
    named = {of: Path(file) for of, file in getattr(p.settings(name), "files", {}).items()}
    files = {of: entries(path.parent, [path])[0] for of, path in named.items()}
    return {"min_confidence": p.min_confidence if matters else None, **({"files": files} if files else {})}


def videos(source: str) -> dict:
    """What `ingest.source` holds.

    Returns:
        {source, world: {world.yaml: SHA-256}}; or {source, files, passed_over}: the entries of its clips and sequences
        by name, and how many other files there are, by suffix. A sequence's entry has `fps` as well, None where it
        does not tell, and `at`, where it lies, if that is not its name.
    """
    folder = _folder("ingest.source", source, "of videos, or one with a world.yaml")
    if rendered.is_world(folder):
        return _world(source, folder)
    found = footage.find(folder)
    files = entries(folder, found.clips) + [_sequence(folder, each) for each in found.sequences]
    if found.passed_over:
        progress.say(f"list {source}: {footage.in_words(found.passed_over)}")
    by_name = sorted(files, key=lambda file: file["name"])
    return {"source": source, "files": by_name, "passed_over": found.passed_over}


def _sequence(source: Path, folder: Path) -> dict:
    """The entry of a folder of images that is a video; its hash is of all names and hashes of images."""
    name = folder.relative_to(source).as_posix()
    place = {"name": name} if name != "." else {"name": source.resolve().name, "at": "."}
    if not is_unicode(name):
        return {"name": printable(name), "reason": "its name is not UTF-8"}
    try:
        rate, images = sequence.frame_rate(folder), sequence.images_of(folder)
    except sequence.BadVideo as error:
        return {**place, "reason": str(error)}
    held = entries(folder, images.paths)
    size = sum(file.get("size", 0) for file in held)
    digest = hashlib.sha256(json.dumps(held).encode()).hexdigest()
    return {**place, "size": size, "sha256": digest, "fps": rate}


def _world(source: str, folder: Path) -> dict:
    return {"source": source, "world": {rendered.FILE: work.sha256(folder / rendered.FILE)}}


def benchmarks(sources: dict[str, str], out: Path) -> None:
    """Make `out` hold a file for each of `benchmark.sources`: as `videos`, with every file that is not hidden, since a
    layout may read any."""
    for path in set(out.glob("*")) - {out / f"{name}.json" for name in sources}:
        path.unlink()
    for name, source in sources.items():
        what = "of labelled people, or one with a world.yaml"
        work.write_json(out / f"{name}.json", _listed(f"benchmark.sources.{name}", source, what, folders.files))


def earlier(source: str | None) -> dict:
    """{source, files} of `denoise.earlier`; {} where no earlier result is named."""
    if source is None:
        return {}
    folder = _folder("denoise.earlier", source, "that an earlier data/denoise was copied to")
    return {"source": source, "files": entries(folder, folders.files(folder))}


def _listed(key: str, source: str, what: str, find: Callable[[Path], list[Path]]) -> dict:
    folder = _folder(key, source, what)
    if rendered.is_world(folder):
        return _world(source, folder)
    return {"source": source, "files": entries(folder, find(folder))}


def _folder(key: str, source: str, what: str) -> Path:
    path = Path(source)
    if source.startswith("~"):
        raise CionError(f"{key} {source}: ~ is not known here; write the folder out: {path.expanduser()}")
    if not path.is_dir():
        wrong = "is a file; name the folder that it lies in" if path.is_file() else "no such folder"
        raise CionError(f"{key} {source}: {wrong} (a folder {what})")
    return path


def entries(folder: Path, paths: list[Path]) -> list[dict]:
    """{name (relative), size, sha256} of each file; {name, reason} where it cannot be read, in the system's words.

    A file is hashed only if its size, time or inode is another than when it was hashed before.
    """
    memory = work.ROOT / HASHES
    known = json.loads(memory.read_text()) if memory.is_file() else {}
    fresh: dict[str, list] = {}

    def entry(path: Path) -> dict:
        name = path.relative_to(folder).as_posix()
        if not is_unicode(name):
            return {"name": printable(name), "reason": "its name is not UTF-8"}
        try:
            about = path.stat()
            if not stat.S_ISREG(about.st_mode):  # reading a pipe would wait for ever
                return {"name": name, "reason": "not a regular file"}
            place, seen = printable(path.absolute()), [about.st_size, about.st_mtime_ns, about.st_ino]
            *before, digest = known.get(place, [None])
            if before != seen:
                digest = work.sha256(path)
                fresh[place] = [*seen, digest]
        except OSError as error:
            return {"name": name, "reason": error.strerror}
        return {"name": name, "size": about.st_size, "sha256": digest}

    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing lets go of the interpreter
            return list(progress.track(pool.map(entry, paths), f"list {folder}", "file", len(paths)))
    finally:
        if fresh:  # also of a listing that was stopped: hashing an archive takes hours
            work.write_json(memory, known | fresh)


def parts(p: Params, out: Path) -> None:
    """Make `out` hold a folder of links for each part that `p` names, and nothing else."""
    wanted = {
        out / kind / name / _place(file): file.resolve()
        for kind, name, files in _named(p)
        for file in files
    }  # fmt: skip
    for path in sorted(out.rglob("*"), reverse=True):  # what lies in a folder comes before it
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in wanted:
            path.unlink()
    for link, file in wanted.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(file, link.parent.resolve())  # physical, or a data folder that is a link misleads it
        if not link.is_symlink() or os.readlink(link) != target:
            link.unlink(missing_ok=True)
            link.symlink_to(target)


def _named(p: Params) -> Iterator[tuple[str, str, list[Path]]]:
    """(folder of the kind, name in params.yaml, files) of every part that params.yaml names."""
    embedder = model.embedder_name(model.folder_of(p.embed))
    chosen: list[tuple[str, Kind, dict[str, str]]] = [
        ("detectors", DETECTORS, {p.extract.detector: p.extract.detector}),
        ("trackers", TRACKERS, {p.extract.tracker: p.extract.tracker}),
        ("embedders", EMBEDDERS, {p.embed.model: embedder}),
        ("linking", RULES, {p.denoise.linking: p.denoise.linking}),
        ("layouts", LAYOUTS, {p.benchmark.layout: p.benchmark.layout}),
        ("methods", METHODS, {name: name for name in p.pretrain.methods}),
        ("runs", RECIPES, {name: run.recipe for name, run in p.finetune.runs.items()}),
    ]
    for folder, kind, names in chosen:
        for name, part in names.items():
            yield folder, name, kind.files(part)


def _place(file: Path) -> Path:
    """Where a file lies in the project; its name alone where it lies elsewhere."""
    for base in (Path.cwd(), PROJECT):
        if file.is_relative_to(base):
            return file.relative_to(base)
    return Path(file.name)
