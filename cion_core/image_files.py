"""Image files that people bring: which files of a folder are images, and which of those are whole.

Every entry that takes images comes through here (benchmarks, `cion embed`, galleries, folders of
tracklets), so that they all take the same formats, follow the same links, and say alike what they
do not use.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from cion_core import crew, folders
from cion_core.errors import CionError, is_unicode, printable
from cion_core.images import JPEG, contents, decode, opened, refuse_damaged_jpeg, unreadable
from cion_core.progress import bar, say

SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".bmp",
    ".dib",
    ".webp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
    ".jp2",
    ".gif",
    ".avif",
)
USUAL = ".jpg, .jpeg, .png, .bmp, .webp, .tif and more"  # for messages
# How files begin that OpenCV can decode, whatever they are called. (That a BMP begins with "BM" is
# too little to tell.)
BEGINNINGS = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"II*\0",
    b"MM\0*",
    b"GIF87a",
    b"GIF89a",
    b"\0\0\0\x0cjP  ",
)
# 134 million, 400 MB as RGB: far beyond any camera, and what a small file may grow into.
MOST_PIXELS = 2**27
NAMED = 10  # files that a message names
CHUNK = 64  # images that a worker process takes at a time
MOST_SECONDS = 60.0  # that one image may take

Chunk = tuple[int, tuple[str, ...]]  # the row of its first path, and the paths


@dataclass(frozen=True)
class ImageFolder:
    """What a folder holds.

    Attributes:
        root: the folder.
        paths: its images at any depth, sorted; those in linked folders too, each folder once.
        set_aside: reasons by path, of images that cannot be used.
        passed_over: how many other files there are, by suffix.
        digests: SHA-256 of each image's bytes in hex; empty where they have not been looked at yet.
    """

    root: Path
    paths: list[Path]
    set_aside: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, int] = field(default_factory=dict)
    digests: list[str] = field(default_factory=list)


class Examined(NamedTuple):
    """What came of one file: the SHA-256 of its bytes, or the reason why it cannot be used."""

    digest: str | None
    reason: str | None


def is_image(path: Path | str) -> bool:
    """Whether a file is an image: by its suffix, in any case, or else by how it begins."""
    if Path(path).suffix.lower() in SUFFIXES:
        return True
    try:
        with opened(path) as file:
            beginning = file.read(16)
    except OSError:
        # A broken link, a pipe, or nothing that we may read: it is not known to be an image.
        return False
    return beginning.startswith(BEGINNINGS)


def find(folder: Path | str) -> ImageFolder:
    """The images of a folder; one whose name is not UTF-8 is set aside, since no table can hold it.

    Args:
        folder: where to look, at any depth. Hidden files are left out.

    Raises:
        CionError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CionError(f"{folder}: no such folder")
    return sort_out(folder, folders.files(folder))


def sort_out(folder: Path, files: Iterable[Path]) -> ImageFolder:
    """Sort out which files of a folder are images.

    Args:
        folder: the folder.
        files: what lies in it.

    Returns:
        As `find`.
    """
    paths, set_aside, others = [], {}, Counter()
    for path in files:
        if not is_image(path):
            others[path.suffix.lower() or "no extension"] += 1
        elif is_unicode(path.relative_to(folder)):
            paths.append(path)
        else:
            set_aside[printable(path)] = "its name is not UTF-8; rename it"
    # The most frequent first.
    passed_over = dict(sorted(others.items(), key=lambda item: (-item[1], item[0])))
    return ImageFolder(folder, paths, set_aside, passed_over)


def whole(found: ImageFolder, what: str) -> ImageFolder:
    """Look at each image of a folder (`examine`), and set aside what is damaged.

    Args:
        found: the images.
        what: whose they are, for the progress bar.

    Returns:
        `found` with those that can be used, and their hashes.

    Raises:
        CionError: there are no images, or none that can be used.
    """
    if not found.paths:
        raise CionError(f"{found.root}: no images ({USUAL}) in it{_what_else(found)}")
    digests, reasons = examine(found.paths, what)
    paths = [path for path, digest in zip(found.paths, digests, strict=True) if digest]
    if not paths:
        named = "\n".join(f"  {path}: {reason}" for path, reason in list(reasons.items())[:NAMED])
        raise CionError(f"{found.root}: none of its {len(reasons)} images can be used\n{named}")
    return replace(
        found, paths=paths, set_aside=found.set_aside | reasons, digests=[*filter(None, digests)]
    )


def _what_else(found: ImageFolder) -> str:
    """'; but FILES' for the message that a folder holds no image that could be used."""
    aside = [f"{name} ({reason})" for name, reason in list(found.set_aside.items())[:1]]
    others = [f"{count} {suffix}" for suffix, count in list(found.passed_over.items())[:NAMED]]
    return f"; there are {', '.join(aside + others)}" if aside or others else ""


def examine(paths: Sequence[Path | str], what: str) -> tuple[list[str | None], dict[str, str]]:
    """Look at each image file once, as strictly as can be, before anything is made of it.

    Args:
        paths: image files.
        what: whose they are, for the progress bar.

    Returns:
        SHA-256 of each file's bytes in hex, None where the file cannot be used; and the reasons, by
        the path of such.
    """
    # Decoders of damaged files may crash, hang or fill the memory, so they run in worker processes.
    chunks = [
        (start, tuple(map(str, paths[start : start + CHUNK])))
        for start in range(0, len(paths), CHUNK)
    ]
    found: dict[int, Examined] = {}
    with bar(f"{what}: looking at every image", "image", len(paths)) as progress:
        failed = _examine_in_workers(chunks, found, progress.update)
        # One file has ended a whole chunk: which one is found by taking them singly.
        singly = [
            (start + row, (path,)) for (start, part) in failed for row, path in enumerate(part)
        ]
        for (row, _), reason in _examine_in_workers(singly, found, progress.update).items():
            found[row] = Examined(None, f"not a readable image ({reason})")
    reasons = {str(path): found[row].reason for row, path in enumerate(paths) if found[row].reason}
    return [found[row].digest for row in range(len(paths))], reasons


def _examine_in_workers(
    chunks: list[Chunk], found: dict[int, Examined], report: Callable
) -> dict[Chunk, str]:
    """Fill `found`, by row; return the chunks on which worker processes ended, and why."""
    failed = {}
    processes = max(1, min(os.cpu_count() or 1, len(chunks)))
    for outcome in crew.work(
        chunks, _examine_chunk, processes, setup=_hush, report=report, silence=MOST_SECONDS
    ):
        if outcome.failure:
            failed[outcome.job] = outcome.failure
        else:
            found.update(enumerate(outcome.result, start=outcome.job[0]))
    return failed


def _hush() -> None:
    """Keep what decoders print about damaged files off the terminal; we say it in our own words."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    warnings.simplefilter("ignore")


def _examine_chunk(chunk: Chunk, tool: None, report: Callable[[int], None]) -> list[Examined]:
    """The job of a worker."""
    found = []
    for path in chunk[1]:
        found.append(_examine_one(path))
        report(1)
    return found


def _examine_one(path: str) -> Examined:
    try:
        data = contents(path)
        refuse_huge(data, path)
        if data.startswith(JPEG):
            refuse_damaged_jpeg(data, path)
        decode(data, path)
    except CionError as error:
        reason = (
            str(error).removeprefix(f"{printable(path)}: ").removesuffix("; replace or remove it")
        )
        return Examined(None, reason)
    return Examined(hashlib.sha256(data).hexdigest(), None)


def refuse_huge(data: bytes, path: Path | str) -> None:
    """Refuse a picture that would not fit into memory, by its header alone.

    Args:
        data: the bytes of the file.
        path: what errors name.

    Raises:
        CionError: it has more than MOST_PIXELS.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        width = height = MOST_PIXELS
    except Exception:  # whatever Pillow says of a header: the decoder's word counts
        return
    if width * height > MOST_PIXELS:
        raise unreadable(path, f"more than {MOST_PIXELS // 10**6} million pixels")


def tell(what: str, folder: ImageFolder) -> None:
    """Say what of a folder is not used: the first names with reasons, and counts of other files.

    Args:
        what: the command, with which each line begins.
        folder: the folder.
    """
    for name, reason in list(folder.set_aside.items())[:NAMED]:
        say(f"{what}: {name} set aside: {reason}")
    if len(folder.set_aside) > NAMED:
        say(f"{what}: and {len(folder.set_aside) - NAMED} more images set aside")
    if folder.passed_over:
        counts = ", ".join(f"{suffix} {count}" for suffix, count in folder.passed_over.items())
        number = sum(folder.passed_over.values())
        say(f"{what}: {number} file{'s' if number > 1 else ''} passed over: {counts}")
