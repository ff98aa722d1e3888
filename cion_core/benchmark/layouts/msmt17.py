"""MSMT17 as its authors give it out (Wei et al., CVPR 2018), first and second version.

::

    FOLDER/train/0000/0000_000_01_0303morning_0015_0.jpg   or mask_train_v2/, in version 2
    FOLDER/test/0000/0000_002_05_0303noon_0016_2.jpg       or mask_test_v2/
    FOLDER/list_train.txt  list_val.txt                    which of train/ is which; both are
                                                           trained on
    FOLDER/list_query.txt  list_gallery.txt                which of test/ is which

In version 2 faces are blurred.

A line of a list is a file below train/ or test/ and its person:
`0000/0000_000_01_0303morning_0015_0.jpg 0`. A file's name has person, number, camera, then time.
People count from 0, in train/ and test/ each, and 0 is somebody like the others; there is neither
junk nor a distractor. In full: 32,621 training images of 1,041 people (30,248 and 2,373 of them in
list_train and list_val), 11,659 queries and 82,161 gallery images of 3,060, 15 cameras.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cion_core.benchmark.layouts.base import SHOWN, Layout, image_names, subfolders
from cion_core.errors import CionError

# The folders of training and of test, in the first version and in the second.
VERSIONS = (("train", "test"), ("mask_train_v2", "mask_test_v2"))
TRAINING_LISTS = ("list_train.txt", "list_val.txt")
QUERY_LIST = "list_query.txt"
GALLERY_LIST = "list_gallery.txt"
VALID = "0000/0000_000_01_0303morning_0015_0.jpg 0 (person 0, camera 1; cameras from 1)"
VALID_IMAGE = VALID.partition(" ")[0]
_IMAGE = re.compile(r"(\d+)/\d+_\d+_(\d+)_[^/]*")

Row = tuple[str, int, int]  # path, person and camera


@dataclass(frozen=True)
class _Name:
    """What an image's name says, PERSON/PERSON_NUMBER_CAMERA_TIME."""

    person: int
    camera: int


class MSMT17(Layout):
    """MSMT17 in its authors' folders, with their lists.

    Person n of the set becomes n + 1. Images are sorted by path within each split.
    """

    about = (
        "train/ and test/ (or mask_train_v2/, mask_test_v2/) with a folder for each person; "
        "list_*.txt beside them"
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """See `Layout.recognises`."""
        return any(_holds_people(folder / train) for train, _ in _find_versions(folder))

    def read(self, folder: Path) -> pd.DataFrame:
        """See `Layout.read`."""
        train, test = self._choose_version(folder)
        training = _read_training(folder, train)
        query, gallery = _read_test(folder, test)
        splits = [
            _tabulate("train", training),
            _tabulate("query", query),
            _tabulate("gallery", gallery),
        ]
        return pd.concat(splits, ignore_index=True)

    def _choose_version(self, folder: Path) -> tuple[str, str]:
        """The names of the folders of training and of test; CionError unless there is one pair."""
        found = _find_versions(folder)
        if len(found) == 1:
            return found[0]
        wanted = " or ".join(f"{train}/ and {test}/" for train, test in VERSIONS)
        if found:
            raise CionError(f"{folder}: both versions of MSMT17 are in it; leave one, {wanted}")
        raise CionError(f"{folder}: MSMT17 has folders {wanted}{self.hint(folder)}")


def _tabulate(split: str, rows: list[Row]) -> pd.DataFrame:
    images = pd.DataFrame(sorted(rows), columns=["path", "person", "camera"])
    return images.assign(split=split, person=images["person"] + 1)


def _find_versions(folder: Path) -> list[tuple[str, str]]:
    return [
        (train, test)
        for train, test in VERSIONS
        if (folder / train).is_dir() and (folder / test).is_dir()
    ]


def _holds_people(folder: Path) -> bool:
    """Whether the first subfolder that holds images at all holds MSMT17's."""
    for person_folder in subfolders(folder):
        names = _list_images(person_folder)
        if names:
            return any(_IMAGE.fullmatch(name) for name in names)
    return False


def _list_images(person_folder: Path) -> list[str]:
    """The images of a person, as PERSON/FILE."""
    return [f"{person_folder.name}/{name}" for name in image_names(person_folder)]


def _parse_name(name: str) -> _Name | None:
    """What a name such as 0000/0000_000_01_0303morning_0015_0.jpg says, if it says it."""
    match = _IMAGE.fullmatch(name)
    if not match:
        return None
    parsed = _Name(person=int(match[1]), camera=int(match[2]))
    return parsed if parsed.camera >= 1 else None


def _read_training(folder: Path, train: str) -> list[Row]:
    """All that is trained on: by both lists, or else by the folder, which holds the same."""
    lists = [name for name in TRAINING_LISTS if (folder / name).is_file()]
    if len(lists) == 1:
        raise CionError(
            f"{folder}: {lists[0]} without the other of {' and '.join(TRAINING_LISTS)}; both are "
            f"trained on. Put it there, or take {lists[0]} away: then all of {train}/ is trained "
            "on"
        )
    if not lists:
        return _read_folder(folder / train)
    return _read_lists(folder, train, lists)


def _read_test(folder: Path, test: str) -> tuple[list[Row], list[Row]]:
    """The rows of query and of gallery, which lists alone tell apart."""
    missing = [name for name in (QUERY_LIST, GALLERY_LIST) if not (folder / name).is_file()]
    if missing:
        raise CionError(
            f"{folder}: no {' and no '.join(missing)}; these lists come with the set and lie "
            f"beside {test}/, and nothing else tells which of its images are queries. Get them "
            "from where the images are from; a set with folders query/ and bounding_box_test/ is "
            "in the layout msmt17_market"
        )
    query = _read_lists(folder, test, [QUERY_LIST])
    gallery = _read_lists(folder, test, [GALLERY_LIST])
    query_paths = {path for path, _, _ in query}
    gallery_paths = {path for path, _, _ in gallery}
    in_both = query_paths & gallery_paths
    if in_both:
        raise CionError(
            f"{folder}: {QUERY_LIST} and {GALLERY_LIST} share {len(in_both)} images, such as "
            f"{min(in_both)}"
        )
    return query, gallery


def _read_folder(folder: Path) -> list[Row]:
    """Every image of the people's folders; in the full set the lists name the same."""
    rows: list[Row] = []
    bad: list[str] = []
    for person_folder in subfolders(folder):
        for name in _list_images(person_folder):
            parsed = _parse_name(name)
            if parsed:
                rows.append((str(folder / name), parsed.person, parsed.camera))
            else:
                bad.append(name)
    if bad:
        raise CionError(
            f"{folder}: {len(bad)} of {len(bad) + len(rows)} images tell no person and camera: "
            f"{', '.join(bad[:SHOWN])}; valid: {VALID_IMAGE}"
        )
    return rows


def _read_lists(folder: Path, images: str, lists: list[str]) -> list[Row]:
    """The images below folder/images that lists name.

    Raises:
        CionError: it names the first lines that are wrong.
    """
    rows: dict[str, Row] = {}
    wrong: list[str] = []
    for name in lists:
        for number, line in enumerate(_read_lines(folder / name), 1):
            if not line.strip():
                continue
            try:
                row = _parse_line(line, folder / images)
            except ValueError as error:
                wrong.append(f"{folder / name}, line {number}: {error}")
                continue
            path = row[0]
            if path in rows:
                wrong.append(f"{folder / name}, line {number}: {path} is listed twice")
            else:
                rows[path] = row
    if wrong:
        more = len(wrong) - SHOWN
        others = f"\nand {more} lines more" if more > 0 else ""
        raise CionError("\n".join(wrong[:SHOWN]) + others)
    return list(rows.values())


def _read_lines(path: Path) -> list[str]:
    """The lines of a list; CionError where it is no text."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CionError(f"{path}: cannot be read: {reason}") from None
    except UnicodeDecodeError:
        raise CionError(f"{path}: not UTF-8 text; a line is like {VALID}") from None


def _parse_line(line: str, images: Path) -> Row:
    """The image that a line of a list names; ValueError says what is wrong with it."""
    # The name may hold blanks; the person stands behind the last.
    name, _, person = " ".join(line.split()).rpartition(" ")
    name = name.strip()
    parsed = _parse_name(name)
    if not parsed or not person.isdecimal():
        raise ValueError(f"{line.strip()!r} tells no image, person and camera; valid: {VALID}")
    if int(person) != parsed.person:
        raise ValueError(
            f"{name} is labelled {person}, but lies in the folder of person {parsed.person}"
        )
    path = images / name
    if not path.is_file():
        raise ValueError(f"no file {path}")
    return str(path), parsed.person, parsed.camera
