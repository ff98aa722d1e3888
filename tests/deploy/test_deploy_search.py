"""Features as files, ranked lists, and the distance from which on nobody is there."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cion_core import rendered, zoo
from cion_core.benchmark.labels import Labels
from cion_core.cli import app
from cion_core.deploy import search
from cion_core.embed.model import load_embedder
from cion_core.errors import CionError
from cion_core.images import read_image


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return path


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    for row, image in enumerate(rendered.people(5)):
        save(tmp_path / f"gallery/{row % 2}/{row}.png", image)
    return tmp_path / "gallery"


def run(*words: object) -> str:
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_features_as_parquet_and_npy(folder: Path, gallery: Path, tmp_path: Path) -> None:
    paths = [gallery / f"0/{i}.png" for i in (0, 2, 4)] + [gallery / f"1/{i}.png" for i in (1, 3)]
    wanted = load_embedder(folder)([read_image(path) for path in paths])
    run("embed", gallery, "--model", folder, "--out", tmp_path / "f.npy")
    assert np.allclose(np.load(tmp_path / "f.npy"), wanted, atol=1e-5)
    about = json.loads((tmp_path / "f.json").read_text())
    assert (
        about["images"] == list(map(str, paths))
        and about["dim"] == 256
        and len(about["weights"]) == 64
    )
    run("embed", *paths[::-1], "--model", folder, "--out", tmp_path / "f.parquet")
    table = pq.read_table(tmp_path / "f.parquet").to_pandas()
    assert table.path.to_list() == list(map(str, paths[::-1]))
    assert np.allclose(np.stack(table.feature), wanted[::-1], atol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{gallery}", "--model", "{folder}"], "go together"),
        (["{gallery}", "--model", "{folder}", "--out", "x.csv"], "ends in .parquet or .npy"),
        (["nowhere", "--model", "{folder}", "--out", "x.npy"], "nowhere: no such file"),
        (["{folder}", "--model", "{folder}", "--out", "x.npy"], "no images"),
    ],
)
def test_what_embed_does_not_take(
    folder: Path, gallery: Path, words: list[str], message: str
) -> None:
    done = CliRunner().invoke(
        app, ["embed", *(word.format(gallery=gallery, folder=folder) for word in words)]
    )
    assert done.exit_code != 0 and message in done.output.replace("\n", " ")


def test_an_image_finds_its_copy_first(folder: Path, gallery: Path, tmp_path: Path) -> None:
    query = save(tmp_path / "query.png", read_image(gallery / "1/3.png"))
    output = run(
        "search",
        query,
        "--gallery",
        gallery,
        "--model",
        folder,
        "--top",
        3,
        "--out",
        tmp_path / "list.html",
    )
    lines = output.splitlines()
    assert "no threshold was learnt" in lines[0] and len(lines) == 4
    assert lines[1].endswith("1/3.png") and float(lines[1].split()[1]) < 1e-5
    assert [float(line.split()[1]) for line in lines[1:]] == sorted(
        float(line.split()[1]) for line in lines[1:]
    )
    page = (tmp_path / "list.html").read_text()
    assert page.count("data:image/jpeg;base64") == 4 and "3.png" in page


def test_the_query_is_not_its_own_answer(folder: Path, gallery: Path) -> None:
    found = search.search(gallery / "1/3.png", gallery, folder)
    assert len(found.paths) == 4 and gallery / "1/3.png" not in found.paths


def test_nobody_is_an_answer_after_an_export_with_a_benchmark(folder: Path, tmp_path: Path) -> None:
    """Copies of a query are at distance 0, and other people are not."""
    people = rendered.people(12)
    for person, image in enumerate(people, start=1):
        save(tmp_path / f"market/query/{person:04d}_c1s1_000001_01.jpg", image)
        save(tmp_path / f"market/bounding_box_test/{person:04d}_c2s1_000001_01.jpg", image)
        save(tmp_path / f"market/bounding_box_train/{person + 50:04d}_c1s1_000001_01.jpg", image)
    out = tmp_path / "mine"
    run("export", folder, "--to", "safetensors", "--out", out, "--benchmark", tmp_path / "market")
    learnt = zoo.load(out)[1].extra["threshold"]
    assert (
        learnt["gallery"] == [1, 2, 4, 8, 11]
        and learnt["found"] == 1.0
        and learnt["benchmark"] == "market"
    )
    assert 0 < learnt["distance"][-1] <= learnt["distance"][0]
    query = save(tmp_path / "query.png", people[0])
    here, away = tmp_path / "here", tmp_path / "away"
    save(here / "a.png", people[0])
    save(away / "b.png", np.full((128, 64, 3), (0, 255, 0), np.uint8))
    assert "somebody here: 1 of" in run("search", query, "--gallery", here, "--model", out)
    assert "nobody here" in run(
        "search", query, "--gallery", away, "--model", out, "--out", tmp_path / "x.html"
    )
    assert "class=far" in (tmp_path / "x.html").read_text()


def test_an_unknown_layout_of_the_benchmark(folder: Path, tmp_path: Path) -> None:
    words = [
        "export",
        folder,
        "--to",
        "safetensors",
        "--out",
        tmp_path / "x",
        "--benchmark",
        tmp_path,
        "--layout",
        "x",
    ]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert (
        done.exit_code == 1
        and "unknown benchmark layout 'x'; valid are auto, market1501" in done.output
    )


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_the_rate_of_false_alarms_is_kept_on_new_people(seed: int) -> None:
    """Queries of people not in the gallery match at the promised rate, at every gallery size."""
    rng = np.random.default_rng(seed)
    queries, size = 2000, 64
    who = Labels(np.arange(1, queries + 1), np.ones(queries, int))
    # Person 1 is there, once.
    gallery = Labels(np.concatenate([np.full(size, 9999), [1]]), np.full(size + 1, 2))
    draw = partial(rng.beta, 8, 4, (queries, size))
    own = np.where(np.arange(queries) == 0, 0.0, 2.0)[:, None]
    learnt = search.find_thresholds(np.concatenate([draw(), own], axis=1), who, gallery)
    fresh = draw()
    for part in (1, 5, 20, 64):
        alarms = np.mean(fresh[:, :part].min(axis=1) <= search.find_limit(learnt, part))
        assert alarms == pytest.approx(search.FALSE_ALARMS, abs=0.03)


def test_a_benchmark_without_other_people() -> None:
    one = Labels(np.array([1]), np.array([1]))
    with pytest.raises(CionError, match="needs other people"):
        search.find_thresholds(np.zeros((1, 1)), one, Labels(np.array([1]), np.array([2])))
