"""Names of any bytes in messages: readable, on one line of a terminal, and never its master."""

from __future__ import annotations

import os

import pytest

from cion_core.errors import CionError, is_unicode, printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"caf\xe9.mp4", r"caf\xe9.mp4"),
        ("😀 é.mp4".encode(), "😀 é.mp4"),
        (b"\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\u202e4pm.exe".encode(), r"\u202e4pm.exe"),
        (b"100%s\\n.mp4", r"100%s\n.mp4"),
        (b"one\ntwo\tthree\rfour", "one\ntwo\tthree\\rfour"),
    ],
)
def test_a_name_is_shown_so_that_it_steers_no_terminal(name: bytes, shown: str) -> None:
    text = os.fsdecode(name)
    assert printable(text) == str(CionError(text)) == shown
    assert printable(shown) == shown, "what was made printable stays so"
    shown.encode()


def test_only_bytes_that_are_not_utf8_are_no_text() -> None:
    assert not is_unicode(os.fsdecode(b"\xe9"))
    assert is_unicode("é\x1b\u202e")
