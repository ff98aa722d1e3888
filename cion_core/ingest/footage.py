"""Which files of a folder are footage.

What the decoder can open decides in the end, in the ingest stage. Here only those files are passed
over that surely are something else: pictures, texts, archives and such, told by how they begin.
No decoder is imported for it, and of a file the first bytes are read at most.
"""

from __future__ import annotations

import stat
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from cion_core import folders
from cion_core.image_files import is_image
from cion_core.ingest import sequence

# A file that is called so should be a video: if it is none, it is damaged, and named.
EXTENSIONS = (
    ".mp4",
    ".m4v",
    ".mov",
    ".avi",
    ".mkv",
    ".webm",
    ".mpg",
    ".mpeg",
    ".ts",
    ".mts",
    ".m2ts",
    ".wmv",
    ".asf",
    ".flv",
    ".3gp",
    ".ogv",
    ".vob",
    ".mjpeg",
    ".mjpg",
    ".h264",
    ".264",
    ".h265",
    ".265",
    ".hevc",
    ".dav",
    ".m1v",
    ".m2v",
    ".mxf",
    ".divx",
    ".rm",
    ".rmvb",
    ".f4v",
    ".3g2",
    ".y4m",
    ".ivf",
    ".av1",
)
BEGINNING = 1024  # bytes that are looked at
# How files begin that are surely no video.
OTHERS = (
    b"BM",
    b"8BPS",
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"7z\xbc\xaf",
    b"Rar!",
    b"\xfd7zXZ",
    b"BZh",
    b"\x28\xb5\x2f\xfd",
    b"%PDF",
    b"SQLite",
    b"PAR1",
    b"\x93NUMPY",
    b"\x89HDF",
    b"\x7fELF",
    b"MZ",
    b"\xd0\xcf\x11\xe0",
    b"ID3",
    b"fLaC",
)
PICTURES_LIKE_MP4 = (b"heic", b"heix", b"mif1", b"msf1", b"avif")


@dataclass(frozen=True)
class Footage:
    """What a folder holds.

    Attributes:
        clips: files that may be videos, sorted.
        sequences: folders of numbered images that are videos, sorted (see `sequence`).
        passed_over: how many other files there are, by suffix, the most frequent first.
    """

    clips: list[Path]
    sequences: list[Path]
    passed_over: dict[str, int]


def find(source: Path | str) -> Footage:
    """Find the footage of a folder.

    Args:
        source: where to look, at any depth. Hidden files are left out, and links followed (see
            `folders.files`).

    Returns:
        The clips and sequences, and how many other files there are.
    """
    paths = folders.files(source)
    sequences = _find_sequences(paths)
    clips, others = [], Counter()
    for path in paths:
        if any(folder in sequences for folder in path.parents):
            continue
        if may_be_video(path):
            clips.append(path)
        else:
            others[suffix(path)] += 1
    return Footage(clips, sorted(sequences), by_frequency(others))


def suffix(path: Path) -> str:
    """What follows the last dot of a name, for counting."""
    return path.suffix.lower() or "no extension"


def by_frequency(counts: Counter) -> dict[str, int]:
    """`counts` with the highest first."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def in_words(passed_over: dict[str, int]) -> str:
    """'42 files passed over: .bmp 40, .txt 2'."""
    number = sum(passed_over.values())
    counts = ", ".join(f"{name} {count}" for name, count in passed_over.items())
    return f"{number} file{'s' if number > 1 else ''} passed over: {counts}"


def _find_sequences(paths: list[Path]) -> set[Path]:
    """The folders that are image sequences."""
    found = {path.parent for path in paths if path.name == sequence.INFO}
    images = defaultdict(list)
    for path in paths:
        if sequence.is_image(path) and not any(folder in found for folder in path.parents):
            images[path.parent].append(path)
    return found | {folder for folder, files in images.items() if sequence.are_numbered(files)}


def should_be_video(name: Path | str) -> bool:
    """Whether a file is named as a video."""
    return Path(name).suffix.lower() in EXTENSIONS


def may_be_video(path: Path) -> bool:
    """Whether a file is named as a video, or begins like nothing else that is known.

    A file that cannot be read may be one, too: who lists it says why it cannot.
    """
    if should_be_video(path):
        return True
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would wait for ever
            return True
        with open(path, "rb") as file:
            beginning = file.read(BEGINNING)
    except OSError:
        return True
    if is_image(path) or beginning.startswith(OTHERS) or beginning[8:12] in PICTURES_LIKE_MP4:
        return False
    if beginning.startswith(b"RIFF") and beginning[8:12] != b"AVI ":  # a sound, or a picture
        return False
    return not _is_text(beginning)


def _is_text(beginning: bytes) -> bool:
    """Whether bytes are UTF-8 text without control characters; the last letter may be cut off."""
    try:
        text = beginning.decode()
    except UnicodeDecodeError as error:
        if error.start < len(beginning) - 3:
            return False
        text = beginning[: error.start].decode()
    return all(letter.isprintable() or letter in "\t\n\r\f\ufeff" for letter in text)
