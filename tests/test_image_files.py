"""One walker and one examination for all image files that people bring."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from cion_core import image_files, work
from cion_core.errors import CionError

ROWS, COLUMNS = np.mgrid[:96, :48]
NOISE = np.random.default_rng(0).integers(0, 256, (96, 48, 3), dtype=np.uint8)
RAMP = np.stack([COLUMNS * 5, ROWS * 2, 255 - ROWS * 2], axis=-1).astype(np.uint8)


def encoded(kind: str, pixels: np.ndarray = NOISE, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def huge_png() -> bytes:
    """A few bytes that claim a picture of 40,000 x 40,000 pixels."""
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunk = (
        struct.pack(">I", len(header))
        + b"IHDR"
        + header
        + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    )
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 4) + b"IDAT" + bytes(100)


WHOLE = {
    "a.jpg": encoded("jpeg"),
    "b.JPEG": encoded("jpeg", progressive=True),
    "c.png": encoded("png"),
    "d.bmp": encoded("bmp"),
    "e.WebP": encoded("webp"),
    "f.tif": encoded("tiff"),
    "g.gif": encoded("gif"),
    "h.jfif": encoded("jpeg"),
    "behind.jpg": encoded("jpeg") + b"what some cameras write behind the picture",
    "no-extension": encoded("jpeg"),
    "backup.jpg~": encoded("png"),
}
SMOOTH, ROUGH = encoded("jpeg", RAMP), encoded("jpeg", NOISE)
DAMAGED = {
    "cut.jpg": ROUGH[: len(ROUGH) // 3],
    "cut-smooth.jpg": SMOOTH[: 2 * len(SMOOTH) // 3],
    "cut-progressive.jpg": WHOLE["b.JPEG"][: len(WHOLE["b.JPEG"]) // 3],
    "cut-and-closed.jpg": ROUGH[: len(ROUGH) // 3] + b"\xff\xd9",  # some tools "mend" a file so
    # a download that broke off
    "filled-with-zeros.jpg": ROUGH[: len(ROUGH) // 3] + bytes(2 * len(ROUGH) // 3),
    "middle-lost.jpg": ROUGH[: len(ROUGH) // 3] + ROUGH[2 * len(ROUGH) // 3 :],
    "cut.png": WHOLE["c.png"][:-40],
    "cut.webp": WHOLE["e.WebP"][: len(WHOLE["e.WebP"]) // 2],
    "cut.bmp": WHOLE["d.bmp"][: len(WHOLE["d.bmp"]) // 2],
    "cut.gif": WHOLE["g.gif"][: len(WHOLE["g.gif"]) // 2],
    "empty.jpg": b"",
    "words.jpg": b"not found",
    "huge.png": huge_png(),
}  # fmt: skip


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder of good and damaged images and other files, with links."""
    folder = tmp_path / "mixed"
    for name, data in (WHOLE | DAMAGED).items():
        (folder / "below").mkdir(parents=True, exist_ok=True)
        (folder / "below" / name).write_bytes(data)
    for name in ("notes.txt", "more.TXT", "table.csv", "README", ".hidden.jpg"):
        (folder / name).write_text("words")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "linked.jpg").write_bytes(ROUGH)
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "lost.jpg").symlink_to("nowhere")
    Path(os.fsdecode(os.fsencode(folder) + b"/cam\xe9ra.jpg")).write_bytes(ROUGH)
    return folder


def test_a_folder_is_sorted_out_and_nothing_is_silent(
    mixed: Path, capsys: pytest.CaptureFixture
) -> None:
    found = image_files.whole(image_files.find(mixed), "here")
    assert [path.name for path in found.paths] == [*sorted(WHOLE), "linked.jpg"]
    names = {Path(name).name for name in found.set_aside}
    assert names == {*DAMAGED, "lost.jpg", r"cam\xe9ra.jpg"}
    assert found.passed_over == {".txt": 2, ".csv": 1, "no extension": 1}
    image_files.tell("here", found)
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "here: 4 files passed over: .txt 2, .csv 1, no extension 1"
    assert (
        said.splitlines()[-2] == f"here: and {len(names) - image_files.NAMED} more images set aside"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cut.jpg", "cut off or damaged: premature end of JPEG file"),
        ("cut-and-closed.jpg", "premature end of data segment"),
        ("filled-with-zeros.jpg", "cut off or damaged"),
        ("middle-lost.jpg", "cut off or damaged"),
        ("empty.jpg", "it is empty"),
        ("words.jpg", "it is broken, cut off, or no image"),
        ("huge.png", "more than 134 million pixels"),
    ],
)
def test_the_reason_is_told(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / name).write_bytes(DAMAGED[name])
    digests, reasons = image_files.examine([tmp_path / name], "here")
    assert digests == [None] and reason in reasons[str(tmp_path / name)]


def test_the_systems_reason_comes_before_the_decoders(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "lost.jpg").symlink_to("nowhere")
    _, reasons = image_files.examine([tmp_path / "folder.jpg", tmp_path / "lost.jpg"], "here")
    assert [reason.partition("(")[2] for reason in reasons.values()] == [
        "is a directory)",
        "no such file or directory)",
    ]


def test_pipes_and_devices_are_named_at_once_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")  # without a suffix, a file is opened to see how it begins
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    cv2.imwrite(str(tmp_path / "good.png"), NOISE)
    found = image_files.whole(image_files.find(tmp_path), "here")
    assert [path.name for path in found.paths] == ["good.png"]
    assert found.passed_over == {"no extension": 1}
    assert set(found.set_aside.values()) == {"not a readable image (not a regular file)"}


def test_digests_are_in_order_and_of_the_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(2 * image_files.CHUNK + 3)]
    for number, path in enumerate(paths):
        assert cv2.imwrite(str(path), np.full((4, 4, 3), number, np.uint8))
    digests, reasons = image_files.examine(paths, "here")
    assert digests == [work.sha256(path) for path in paths] and not reasons
    assert len(set(digests)) == len(paths)


def test_what_a_decoder_prints_stays_off_the_terminal(
    mixed: Path, capfd: pytest.CaptureFixture
) -> None:
    image_files.whole(image_files.find(mixed), "here")
    errors = capfd.readouterr().err
    assert "libpng" not in errors and "Corrupt" not in errors and "OpenCV" not in errors


def test_a_folder_in_which_nothing_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "only.txt").touch()
    with pytest.raises(CionError, match=r"no images \(\.jpg, .* in it; there are 1 \.txt"):
        image_files.whole(image_files.find(tmp_path), "here")
    (tmp_path / "cut.jpg").write_bytes(DAMAGED["cut.jpg"])
    with pytest.raises(
        CionError, match=r"none of its 1 images can be used\n  .*cut\.jpg: not a readable image"
    ):
        image_files.whole(image_files.find(tmp_path), "here")
    with pytest.raises(CionError, match="nowhere: no such folder"):
        image_files.find(tmp_path / "nowhere")


def test_a_file_that_kills_its_worker_is_found_among_its_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(WHOLE["c.png"])
    (tmp_path / "deadly.png").write_bytes(WHOLE["c.png"])
    (tmp_path / "z.png").write_bytes(WHOLE["c.png"])
    monkeypatch.setattr(image_files, "_examine_chunk", dies_of_deadly)
    digests, reasons = image_files.examine(sorted(tmp_path.iterdir()), "here")
    assert [digest is not None for digest in digests] == [True, False, True]
    assert list(reasons) == [
        str(tmp_path / "deadly.png")
    ] and "the process died on it twice" in str(reasons)


def dies_of_deadly(
    chunk: image_files.Chunk, tool: None, report: object
) -> list[image_files.Examined]:
    """In place of a decoder that crashes."""
    if any("deadly" in path for path in chunk[1]):
        os.abort()
    return [image_files.Examined("0" * 64, None) for _ in chunk[1]]
