"""Whatever bytes come in: a result or a CionError, no other exception, no line lost unsaid."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_core import image_files, project, rendered, tables
from cion_core.embed.model import load_embedder
from cion_core.errors import CionError
from cion_core.external import crops_table, mot

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
CELLS = st.one_of(
    st.integers(-2, 9).map(str),
    st.floats(width=32).map(str),
    st.text(max_size=4),
    st.sampled_from(["", "nan", "1e309", "-0"]),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
many = settings(max_examples=60, deadline=None)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@many
@given(
    st.lists(st.lists(CELLS, min_size=1, max_size=10), max_size=6),
    st.sampled_from([",", ";", "\t", " "]),
)
def test_any_mot_text_is_read_whole_or_refused(
    place: Path, rows: list[list[str]], separator: str
) -> None:
    (place / "v.txt").write_text("\n".join(separator.join(row) for row in rows), errors="replace")
    try:
        text = mot.read(place / "v.txt")
    except CionError as error:
        assert len(str(error).splitlines()) <= 5
    else:
        lines = [
            line
            for line in (place / "v.txt").read_text().splitlines()
            if line.strip(f" {separator}")
        ]
        assert len(text.crops) + len(text.set_aside) == len(lines)


@many
@given(st.binary(max_size=200))
def test_any_bytes_as_a_table_or_mot_text(place: Path, data: bytes) -> None:
    for name, read in (
        ("a.csv", crops_table.read),
        ("a.parquet", crops_table.read),
        ("a.txt", mot.read),
    ):
        (place / name).write_bytes(data)
        try:
            read(place / name)
        except CionError as error:
            assert str(error).startswith(str(place / name))


@many
@given(
    st.dictionaries(
        st.sampled_from(["crop", "video", "frame", "tracklet", "x1", "path"]),
        st.lists(CELLS, min_size=3, max_size=3),
    )
)
def test_any_crops_table_is_read_or_refused(place: Path, columns: dict[str, list[str]]) -> None:
    pd.DataFrame(columns, index=range(3)).to_csv(place / "c.csv", index=False, errors="replace")
    try:
        assert len(crops_table.read(place / "c.csv")) <= 3
    except CionError as error:
        assert len(str(error).splitlines()) <= 3


@many
@given(st.data())
def test_any_params_are_read_or_refused(place: Path, data: st.DataObject) -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    section = data.draw(st.sampled_from(sorted(values)))
    key = data.draw(st.sampled_from(sorted(values[section])))
    values[section][key] = data.draw(VALUES)
    (place / "params.yaml").write_text(yaml.safe_dump(values))
    try:
        project.load(place / "params.yaml")
    except CionError as error:
        assert str(error).startswith(str(place / "params.yaml"))


@many
@given(
    VALUES
    | st.dictionaries(
        st.sampled_from(["embedder", "stripes", "hue", "name", "backbone", "image"]), VALUES
    )
)
def test_any_card_is_read_or_refused(place: Path, card: object) -> None:
    (place / "model").mkdir(exist_ok=True)
    (place / "model/card.json").write_text(json.dumps(card))
    try:
        load_embedder(place / "model")
    except CionError as error:
        assert "card.json" in str(error) or "model" in str(error)


@many
@given(
    st.dictionaries(
        st.sampled_from(
            ["crop", "level", "action", "other", "distance", "limit", "rule", "from", "to"]
        ),
        st.lists(CELLS, min_size=2, max_size=2),
    )
)
def test_any_ledger_is_read_or_refused(place: Path, columns: dict[str, list[str]]) -> None:
    whole = {
        name: ["0", "1"]
        for name in ("crop", "other", "distance", "limit", "probability", "from", "to")
    }
    whole |= {"level": ["video"] * 2, "action": ["kept"] * 2, "rule": ["radius"] * 2}
    pd.DataFrame(whole | columns).to_parquet(place / "ledger.parquet")
    try:
        assert len(tables.read(tables.Ledger, place / "ledger.parquet")) == 2
    except CionError as error:
        assert len(str(error).splitlines()) <= 3


def test_any_mutated_jpeg_is_used_or_named(tmp_path: Path) -> None:
    """Each file is used or named; one that lacks a quarter or more of its bytes is never used."""
    rng = random.Random(0)
    whole = [cv2.imencode(".jpg", image)[1].tobytes() for image in rendered.people(8)]
    paths, cut = [], set()
    for number in range(400):
        data = bytearray(rng.choice(whole))
        kind = number % 4
        if kind == 0:
            del data[rng.randrange(len(data) * 3 // 4) :]
            cut.add(number)
        elif kind == 1:
            for _ in range(rng.randrange(1, 30)):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data = data[: rng.randrange(len(data))] + rng.choice(whole)[rng.randrange(500) :]
        else:
            start = rng.randrange(len(data))
            data[start : start + rng.randrange(2000)] = rng.randbytes(rng.randrange(50))
        paths.append(tmp_path / f"{number}.jpg")
        paths[-1].write_bytes(data)
    digests, reasons = image_files.examine(paths, "fuzz")
    assert len(digests) == 400 and sum(digest is None for digest in digests) == len(reasons)
    assert not [number for number in cut if digests[number]]
    usable = [path for path, digest in zip(paths, digests, strict=True) if digest]
    assert all(np.isfinite(image_files.decode(path.read_bytes(), path)).all() for path in usable)
