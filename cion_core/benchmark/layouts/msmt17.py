"""MSMT17 as its authors give it out (Wei et al., CVPR 2018), first and second version.

    FOLDER/train/0000/0000_000_01_0303morning_0015_0.jpg     mask_train_v2/ in version 2, whose faces are blurred
    FOLDER/test/0000/0000_002_05_0303noon_0016_2.jpg         mask_test_v2/
    FOLDER/list_train.txt  list_val.txt                      which of train/ is which; both are trained on
    FOLDER/list_query.txt  list_gallery.txt                  which of test/ is which

A line of a list is a file below train/ or test/ and its person:
`0000/0000_000_01_0303morning_0015_0.jpg 0`. A file's name has person, number, camera, then time.
People count from 0, in train/ and test/ each, and 0 is somebody like the others; there is neither
junk nor a distractor. In full: 32,621 training images of 1,041 people (30,248 and 2,373 of them in
list_train and list_val), 11,659 queries and 82,161 gallery images of 3,060, 15 cameras.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from cion_core.benchmark.layouts.base import Layout, image_names, subfolders
from cion_core.errors import CionError

VERSIONS = (("train", "test"), ("mask_train_v2", "mask_test_v2"))
TRAINING, QUERY, GALLERY = ("list_train.txt", "list_val.txt"), "list_query.txt", "list_gallery.txt"
VALID = "0000/0000_000_01_0303morning_0015_0.jpg 0 (person 0, camera 1; cameras from 1)"
NAMED = 5  # bad lines that an error names
_IMAGE = re.compile(r"(\d+)/\d+_\d+_(\d+)_[^/]*")

Row = tuple[str, int, int]  # path, person and camera


class MSMT17(Layout):
    """Person n of the set is n + 1. Sorted by path within each split."""

    about = (
        "train/ and test/ (or mask_train_v2/, mask_test_v2/) with a folder for each person; "
        "list_*.txt beside them"
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return any(_holds_people(folder / train) for train, _ in _versions(folder))

    def read(self, folder: Path) -> pd.DataFrame:
        train, test = self._version(folder)
        rows = {"train": _training(folder, train), **_test(folder, test)}
        parts = [
            pd.DataFrame(sorted(part), columns=["path", "person", "camera"]).assign(split=split)
            for split, part in rows.items()
        ]
        images = pd.concat(parts, ignore_index=True)
        return images.assign(person=images["person"] + 1)

    def _version(self, folder: Path) -> tuple[str, str]:
        """The names of the two folders."""
        found = _versions(folder)
        if len(found) == 1:
            return found[0]
        wanted = " or ".join(f"{train}/ and {test}/" for train, test in VERSIONS)
        if found:
            raise CionError(f"{folder}: both versions of MSMT17 are in it; leave one, {wanted}")
        raise CionError(f"{folder}: MSMT17 has folders {wanted}{self.below(folder)}")


def _versions(folder: Path) -> list[tuple[str, str]]:
    return [names for names in VERSIONS if all((folder / name).is_dir() for name in names)]


def _holds_people(folder: Path) -> bool:
    """Whether the first folder that holds images at all holds MSMT17's."""
    first = next((names for person in subfolders(folder) if (names := _images(person))), [])
    return any(_IMAGE.fullmatch(name) for name in first)


def _images(person: Path) -> list[str]:
    return [f"{person.name}/{name}" for name in image_names(person)]


def _training(folder: Path, train: str) -> list[Row]:
    """List all that is trained on: by both lists, or else by the folder, which holds the same."""
    lists = [name for name in TRAINING if (folder / name).is_file()]
    if len(lists) == 1:
        raise CionError(
            f"{folder}: {lists[0]} without the other of {' and '.join(TRAINING)}; both are "
            f"trained on. Put it there, or take {lists[0]} away: then all of {train}/ is trained "
            "on"
        )
    return _listed(folder, train, *lists) if lists else _all(folder / train)


def _test(folder: Path, test: str) -> dict[str, list[Row]]:
    """The rows of query and gallery, which lists alone tell apart."""
    missing = [name for name in (QUERY, GALLERY) if not (folder / name).is_file()]
    if missing:
        raise CionError(
            f"{folder}: no {' and no '.join(missing)}; these lists come with the set and lie "
            f"beside {test}/, and nothing else tells which of its images are queries. Get them "
            "from where the images are from; a set with folders query/ and bounding_box_test/ is "
            "in the layout msmt17_market"
        )
    query, gallery = (_listed(folder, test, name) for name in (QUERY, GALLERY))
    both = {path for path, *_ in query} & {path for path, *_ in gallery}
    if both:
        raise CionError(
            f"{folder}: {QUERY} and {GALLERY} share {len(both)} images, such as {min(both)}"
        )
    return {"query": query, "gallery": gallery}


def _all(folder: Path) -> list[Row]:
    """Every image below `folder`, by the person's folder."""
    names = [name for person in subfolders(folder) for name in _images(person)]
    matches = [_IMAGE.fullmatch(name) for name in names]
    bad = [
        name for name, match in zip(names, matches, strict=True) if not match or int(match[2]) < 1
    ]
    if bad:
        raise CionError(
            f"{folder}: {len(bad)} of {len(names)} images tell no person and camera: "
            f"{', '.join(bad[:NAMED])}; valid: {VALID.partition(' ')[0]}"
        )
    return [
        (str(folder / name), int(match[1]), int(match[2]))
        for name, match in zip(names, matches, strict=True)
    ]


def _listed(folder: Path, images: str, *lists: str) -> list[Row]:
    """List the images that lists name, below folder/images.

    Raises:
        CionError: it names the first lines that are wrong.
    """
    rows: dict[str, Row] = {}
    wrong = []
    for name in lists:
        for number, line in enumerate(_lines(folder / name), 1):
            if not line.strip():
                continue
            try:
                row = _row(line, folder / images)
                if row[0] in rows:
                    raise ValueError(f"{row[0]} is listed twice")
                rows[row[0]] = row
            except ValueError as error:
                wrong.append(f"{folder / name}, line {number}: {error}")
    if wrong:
        more = f"\nand {len(wrong) - NAMED} lines more" if len(wrong) > NAMED else ""
        raise CionError("\n".join(wrong[:NAMED]) + more)
    return list(rows.values())


def _lines(path: Path) -> list[str]:
    """The lines of a list; CionError where it is no text."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise CionError(
            f"{path}: cannot be read: {(error.strerror or str(error)).lower()}"
        ) from None
    except UnicodeDecodeError:
        raise CionError(f"{path}: not UTF-8 text; a line is like {VALID}") from None


def _row(line: str, images: Path) -> Row:
    """The image that a line of a list names; ValueError says what is wrong with it."""
    name, _, person = " ".join(line.split()).rpartition(" ")
    match = _IMAGE.fullmatch(name.strip())
    if not match or int(match[2]) < 1 or not person.isdecimal():
        raise ValueError(f"{line.strip()!r} tells no image, person and camera; valid: {VALID}")
    if int(person) != int(match[1]):
        raise ValueError(
            f"{name} is labelled {person}, but lies in the folder of person {int(match[1])}"
        )
    path = images / name.strip()
    if not path.is_file():
        raise ValueError(f"no file {path}")
    return str(path), int(person), int(match[2])
