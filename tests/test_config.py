"""YAML and JSON that people write: read as DVC reads it, bounded, and named where it is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from dvc.utils.serialize import parse_yaml

from cion_core import config
from cion_core.errors import CionError

# What YAML 1.1 and 1.2 read differently, and what both know.
SCALARS = [
    "010", "08", "0o17", "0o8", "0x1F", "0b11", "-0b1", "1_000", "1_", "_1", "+1", "-0", "1e3",
    "1E5", "1e-3", "1e+3", "1.5e3", "1.0e+3", "1.e3", "12e03", ".5", "5.", "-.5", "0.", "0.1_0",
    ".inf", "-.Inf", "+.inf", ".nan", ".NaN", "1:30", "1:30.5", "190:20:30", "yes", "no", "on",
    "off", "y", "N", "true", "True", "FALSE", "~", "null", "Null", "2024-01-01",
    "2024-01-01T00:00:00",
]  # fmt: skip


@pytest.mark.parametrize("scalar", SCALARS)
def test_a_value_is_what_dvc_takes_it_for(scalar: str) -> None:
    text = f"key: {scalar}"
    found, by_dvc = (read(text, "params.yaml")["key"] for read in (config.parse_yaml, parse_yaml))
    assert repr(found) == repr(by_dvc)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "line 5, column 5: not YAML: its aliases stand for more than 100,000 values"),
        ("a: &a [*a]", "line 1, column 4: not YAML: a value contains itself"),
        ("a: &a {b: *a}", "line 1, column 4: not YAML: a value contains itself"),
        ("a: &a {b: 1}\nc:\n  <<: *a\n  b: 2\n  b: 3", "b is there twice"),
        ("[" * 5000, "not YAML: nested too deeply"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: 2026-13-45", "not YAML: month must be in 1..12"),
    ],
)
def test_yaml_that_is_no_settings_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(CionError) as caught:
        config.load_yaml(path)
    assert str(caught.value).startswith(str(path)) and said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_aliases_that_repeat_a_little_are_fine() -> None:
    text = "a: &a {b: 1}\nc: [*a, *a]\nd:\n  <<: *a\n  e: 2"
    found = config.parse_yaml(text, "params.yaml")
    assert found == {"a": {"b": 1}, "c": [{"b": 1}, {"b": 1}], "d": {"b": 1, "e": 2}}


def pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("read", [config.load_yaml, config.load_json])
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.symlink_to("nowhere"), "no such file"),
        (lambda path: path.symlink_to(path.name), "cannot be read: "),
        (lambda path: path.mkdir(), "cannot be read: is a directory"),
        (pipe, "not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
        (lambda path: path.write_bytes(b"\xff\xfea\0:\0"), "not UTF-8 text; save it as UTF-8"),
        (lambda path: path.write_bytes(b"a" * (config.MOST_BYTES + 1)), "larger than 4 MiB"),
        (lambda path: path.write_text("{a"), "not "),
        (lambda path: path.write_text('{"a": ' * 5000), "nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, read, make, said: str) -> None:
    path = tmp_path / "card.json"
    make(path)
    with pytest.raises(CionError) as caught:
        read(path)
    assert str(caught.value).startswith(str(path)) and said in str(caught.value)


def test_a_mark_of_the_byte_order_is_no_letter(tmp_path: Path) -> None:
    """As Windows' Notepad writes it."""
    path = tmp_path / "card.json"
    path.write_text('{"a": 1}', encoding="utf-8-sig")
    assert config.load_json(path) == config.load_yaml(path) == {"a": 1}
