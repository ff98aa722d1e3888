"""Every image is read once, in threads, in order."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_benchmarks import picture

from cion_core import work
from cion_core.benchmark import reading
from cion_core.errors import CionError


def written(count: int) -> list[str]:
    for i in range(count):
        picture(Path(f"set/{i}.png"))
    return [f"set/{i}.png" for i in range(count)]


def test_digests_are_in_order_and_of_the_bytes(workspace: Path) -> None:
    paths = written(3 * reading.CHUNK + 1)
    digests = reading.digests(paths)
    assert digests == [work.sha256(Path(path)) for path in paths] and len(set(digests)) == len(paths)


@pytest.mark.parametrize("broken", [1, reading.NAMED, reading.NAMED + 3])
def test_broken_files_are_named_and_counted(broken: int, workspace: Path) -> None:
    paths = written(40)
    for path in paths[-broken:]:
        whole = Path(path).read_bytes()
        Path(path).write_bytes(whole[:-20])
    with pytest.raises(CionError) as error:
        reading.digests(paths)
    first, *rest = str(error.value).splitlines()
    named = [line.strip() for line in rest if "not a readable image" in line]
    assert first == f"{broken} of 40 images are broken:"
    assert [line.partition(":")[0] for line in named] == paths[-broken:][: reading.NAMED]
    assert rest[len(named) :] == ([] if broken <= reading.NAMED else ["  and 3 more"])


def test_a_file_that_is_gone_is_named(workspace: Path) -> None:
    with pytest.raises(
        CionError, match=r"1 of 3 images are broken:\n  set/9\.png: not a readable image \(no such file"
    ):
        reading.digests([*written(2), "set/9.png"])
