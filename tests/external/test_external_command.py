"""Denoising a user's own files gives the library's result, and names what is wrong with them."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from made_up import scene

from cion_core import tables
from cion_core.denoise import Settings, denoise
from cion_core.errors import CionError
from cion_core.external import command, crops_table, image_folders, mot, source


def written(out: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    return (
        tables.read(tables.Identities, out / "identities.parquet"),
        tables.read(tables.Ledger, out / "ledger.parquet"),
        json.loads((out / "audit.json").read_text()),
    )


def annotated(out: Path) -> dict[str, int]:
    """The identity of each image by annotations.json."""
    return {
        entry["file_path"]: entry["id"]
        for entry in json.loads((out / "annotations.json").read_text())
    }


def run(what: str, features: str = "features.npy", out: str = "out", **settings: object) -> None:
    command.run(Path(what), Path(out), Path(features), settings=Settings(**settings))


def test_files_give_what_the_call_gives(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {
        "radius": {"tracklet": 0.5, "video": 0.4}, "separation": {"video": 0.1, "cross_video": 0.2},
        "linking": "published", "range": 8, "stride": 3, "cannot_link": False, "min_crops": 2,
    }  # fmt: skip
    run("crops.parquet", **settings)
    want = denoise(*scene(), Settings(**settings))
    identities, ledger, audit = written(here / "out")
    pd.testing.assert_frame_equal(identities, want.identities, check_dtype=False)
    pd.testing.assert_frame_equal(ledger, want.ledger, check_dtype=False)
    assert audit == want.audit and list(audit) == list(tables.LEVELS)
    assert [audit[level]["radius"] for level in tables.LEVELS] == [0.5, 0.4, None]
    said = capsys.readouterr().out
    assert all(
        f"denoise: {level}: {audit[level]['identities']} identities" in said
        for level in tables.LEVELS
    )
    assert not (here / "out/annotations.json").exists() and not (here / "out/mot").exists()
    assert not (here / "out/linking.npz").exists()


def test_videos_are_added_to_an_earlier_folder(here: Path) -> None:
    crops, features = scene()
    old = (crops.video != "cam/1.mp4").to_numpy()
    crops[old].to_parquet("old.parquet", index=False)
    np.save("old.npy", features[old])

    def more(out: str, **settings: object) -> None:
        given = Settings(**settings)
        command.run(
            Path("crops.parquet"),
            Path(out),
            Path("features.npy"),
            earlier=Path("out"),
            settings=given,
        )

    run("old.parquet", "old.npy")
    want = denoise(crops, features, earlier=denoise(crops[old], features[old]))
    for out in ("other", "out"):  # elsewhere, and in its place
        more(out)
        identities, ledger, audit = written(here / out)
        pd.testing.assert_frame_equal(identities, want.identities, check_dtype=False)
        assert len(identities) == audit["cross_video"]["crops"] > 0.9 * len(crops)
        assert sorted(ledger.crop[ledger.level == "tracklet"]) == sorted(crops.crop)
    (here / "out/audit.json").rename(here / "audit.json")
    # A call that is interrupted as it writes.
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            command.work, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        command.write(here / "out", source.read(Path("crops.parquet")), want)
    (here / "audit.json").rename(here / "out/audit.json")
    with pytest.raises(CionError, match=r"earlier\.json: no such file"):
        more("out")
    run("crops.parquet")
    np.save("features.npy", features + 1)
    with pytest.raises(CionError, match="have other features in the earlier result"):
        more("out")
    with pytest.raises(CionError, match="earlier result its thresholds are used again"):
        more("out", radius={"tracklet": 1.0})


@pytest.mark.parametrize("name", ["crops.parquet", "crops.csv"])
def test_tables_with_paths_become_annotations(
    here: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    crops, _ = scene()
    crops = crops.assign(path=[f"a/{crop}.jpg" for crop in crops.crop], identity=99, video="007")
    crops.to_csv("crops.csv", index=False)
    crops.to_parquet("crops.parquet", index=False)
    run(name)
    identities, _, _ = written(here / "out")
    assert not identities.empty
    want = {
        f"a/{crop}.jpg": identity
        for crop, identity in zip(identities.crop, identities.identity, strict=True)
    }
    assert annotated(here / "out") == want
    assert "annotations.json" in capsys.readouterr().out
    assert crops_table.read(Path(name)).video.unique().tolist() == ["007"]  # names, not numbers


def test_mot_in_mot_out(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crops, features = scene()
    mot.write(here / "tracks", crops, crops.rename(columns={"tracklet": "identity"}))
    # Lines in the order of the files; one more, outside of the frame, has a feature of its own.
    order = crops.sort_values(["video", "frame", "tracklet"]).index
    first = sorted((here / "tracks/cam").glob("*"))[0]
    first.write_text("1,99,-50,1,20,20,0.9,-1,-1,-1\n" + first.read_text())
    np.save("features.npy", np.concatenate([np.zeros((1, 16), np.float16), features[order]]))
    run("tracks")
    assert "1 lines are no crops: box without area" in capsys.readouterr().out
    identities, _, _ = written(here / "out")
    direct = denoise(crops, features).identities.set_index("crop").identity
    rows = pd.Series(np.arange(len(order)) + 1, index=crops.crop[order])
    groups = pd.Series(identities.identity.to_numpy(), index=identities.crop)
    assert len(direct) == len(groups) > 0
    pairs = set(zip(direct, groups[rows[direct.index]], strict=True))
    assert len(pairs) == direct.nunique() == groups.nunique()  # the same people under other names
    back = mot.read(here / "out/mot").crops
    assert len(back) == len(identities)
    assert sorted(video for video, _ in mot.find_texts(here / "out/mot")) == sorted(
        crops.video.unique()
    )
    text = pd.concat(
        pd.read_csv(path, header=None) for path in sorted((here / "out/mot/cam").glob("*"))
    )
    assert set(text[1]) == set(identities.identity)


def test_images_are_embedded(here: Path, project: Path) -> None:
    rng, model = np.random.default_rng(0), project / "models/stripes"
    settings = Settings(separation={"video": 0.4, "cross_video": 0.4})
    for video, person, frame in np.ndindex(2, 2, 3):
        path = here / f"images/v{video}/person {person}/{frame + 10 * person}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = np.array([[30, 40, 200], [200, 60, 20]])[person]
        cv2.imwrite(
            str(path), np.clip(colour + rng.normal(0, 9, (64, 32, 3)), 0, 255).astype(np.uint8)
        )
    command.run(Path("images"), Path("out"), model=model, settings=settings)
    features = np.load(here / "out/features.npy")
    assert features.shape[0] == 12 and features.dtype == np.float16
    got = annotated(here / "out")
    assert set(got) == set(image_folders.read("images")[0].path)
    one, other = (
        {who for path, who in got.items() if ("person 1" in path) == side} for side in (True, False)
    )
    assert one and other and not one & other
    # The features that were written can be given instead.
    command.run(Path("images"), Path("b"), Path("out/features.npy"), settings=settings)
    pd.testing.assert_frame_equal(written(here / "out")[0], written(here / "b")[0])


def test_a_damaged_image_is_set_aside_and_the_rest_keeps_its_numbers(
    here: Path, project: Path
) -> None:
    rng, model = np.random.default_rng(0), project / "models/stripes"
    for person, frame in np.ndindex(2, 4):
        path = here / f"images/v/person {person}/{frame}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(
            str(path),
            np.clip(99 * person + rng.normal(60, 9, (64, 32, 3)), 0, 255).astype(np.uint8),
        )
    (here / "images/v/person 0/1.bmp").write_bytes(b"no image")
    (here / "images/notes.txt").touch()
    command.run(Path("images"), Path("out"), model=model, settings=Settings(cannot_link=False))
    unused = json.loads((here / "out/input.json").read_text())
    assert unused["passed_over"] == {".txt": 1} and list(unused["set_aside"]) == [
        "images/v/person 0/1.bmp"
    ]
    features = np.load(here / "out/features.npy")
    assert len(features) == 8 and not features[1].any() and features[[0, 2, 3, 4]].any(axis=1).all()
    assert 1 not in set(written(here / "out")[1].crop) and set(written(here / "out")[1].crop) == {
        0,
        2,
        3,
        4,
        5,
        6,
        7,
    }


def test_frames_counted_anew_in_each_tracklet_are_said(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for tracklet, frame in np.ndindex(2, 3):
        path = here / f"images/v/{tracklet}/{frame}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    np.save("six.npy", np.random.default_rng(0).normal(size=(6, 4)))
    run("images", "six.npy", radius={"tracklet": 2.0, "video": 2.0})
    assert "--no-cannot-link" in capsys.readouterr().out


def test_sequences_with_their_frames_are_mot(here: Path) -> None:
    for name, text in (
        ("gt/gt.txt", "1,1,1,1,10,20,1,1,1\n"),
        ("img1/000001.jpg", "a whole frame, no crop"),
    ):
        path = here / "S" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert [source.read(Path(what)).form for what in ("S", ".", "S/gt/gt.txt")] == ["mot"] * 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"features": None},
            "--features FILE.npy or, for a folder of images, --model FOLDER: one of them",
        ),
        ({"model": "models/stripes"}, "one of them"),
        ({"path": "none.parquet"}, "none.parquet: no such file or folder; valid: a crops table"),
        ({"path": "features.npy"}, "features.npy: valid: a crops table"),
        ({"features": None, "model": "models/stripes"}, "holds no images to embed"),
        ({"path": "empty", "out": "empty/out"}, "lies in --crops empty"),
        ({"path": "empty"}, "no MOT text in it"),
        ({"features": "none.npy"}, "none.npy: no such file"),
        ({"features": "crops.parquet"}, "crops.parquet: not a .npy file"),
        ({"features": "void.npy"}, "void.npy: not a .npy file"),
        ({"features": "flat.npy"}, "found float64 (3,), must be numbers of shape [N, D]"),
        ({"features": "text.npy"}, "found <U1 (3, 1)"),
        ({"features": "zip.npz"}, "found an archive"),
        ({"features": "short.npy"}, "short.npy: 5 features, but crops.parquet has 72 rows"),
        ({"features": "nan.npy"}, "nan.npy: crops and features do not fit"),
        ({"settings": Settings(min_crops=9)}, "nothing is left of 72 crops"),
    ],
)
def test_wrong_files_are_named(here: Path, change: dict, says: str) -> None:
    (here / "empty").mkdir()
    (here / "void.npy").touch()
    np.save("flat.npy", np.ones(3))
    np.save("text.npy", np.array([["a"]] * 3))
    np.savez("zip.npz", np.ones(3))
    np.save("short.npy", np.ones((5, 16)))
    np.save("nan.npy", np.full((72, 16), np.nan, np.float32))
    given = {"path": "crops.parquet", "out": "out", "features": "features.npy"} | change
    with pytest.raises(CionError, match=re.escape(says)):
        command.run(
            **{
                name: Path(value) if isinstance(value, str) else value
                for name, value in given.items()
            }
        )
    assert not (here / "out").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"frame": 1.5},
            r"column frame: must be whole numbers, rows \[0, 1, 2, 3, 4\], found \[1.5",
        ),
        ({"frame": -1}, "column frame: must be at least 0"),
        ({"tracklet": "x"}, "column tracklet: "),
        ({"crop": 3}, "column crop: must be different in every row"),
        ({"x1": ""}, "column x1: "),
        ({"path": "one.jpg"}, "column path: must be different in every row"),
        ({"tracklet": True}, "column tracklet: must be whole numbers, found True"),
        ({"video": ""}, "video must not be empty"),
        ({"x1": 1e9}, "x1 < x2 and y1 < y2"),
        ({"x2": "inf"}, "x1 < x2 and y1 < y2, none of them infinite"),
    ],
)
def test_a_wrong_csv_is_named(here: Path, change: dict, says: str) -> None:
    crops, _ = scene()
    crops.assign(**change).to_csv("crops.csv", index=False)
    with pytest.raises(CionError, match=f"^crops.csv: .*(\n.*)*{says}"):
        source.read(Path("crops.csv"))


@pytest.mark.parametrize(
    ("name", "separator", "decimal"),
    [("c.CSV", ",", "."), ("c.csv", ";", ","), ("c.tsv", "\t", ".")],
)
def test_tables_of_text_as_they_come(here: Path, name: str, separator: str, decimal: str) -> None:
    crops, _ = scene()
    crops = crops.assign(x1=crops.x1 + 0.25)
    crops.to_csv(name, index=False, sep=separator, decimal=decimal, encoding="utf-8-sig")
    found = source.read(Path(name)).crops
    pd.testing.assert_frame_equal(
        found[crops.columns], crops, check_dtype=False, check_categorical=False
    )


def test_columns_are_known_in_capitals_and_with_blanks(here: Path) -> None:
    crops, _ = scene()
    crops.rename(columns={"crop": "Crop", "video": " video", "x1": "X1 "}).to_csv(
        "c.csv", index=False
    )
    found = source.read(Path("c.csv")).crops
    pd.testing.assert_frame_equal(
        found[crops.columns], crops, check_dtype=False, check_categorical=False
    )


def test_a_box_with_a_missing_side_is_not_dropped_in_silence(here: Path) -> None:
    scene()[0].drop(columns=["x2"]).to_csv("c.csv", index=False)
    with pytest.raises(
        CionError, match=r"^c.csv: no column x2; a box is x1, y1, x2, y2, or none of them$"
    ):
        source.read(Path("c.csv"))


@pytest.mark.parametrize("name", ["c.csv", "v.txt"])
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (gzip.compress(b"1,1,1,1,5,5,1", mtime=0), r"it is packed \(gzip\); unpack it"),
        (b"PK\x03\x04\x14\0\0\xff\xff\xff", r"it is packed \(zip, or a spreadsheet\)"),
        ("1,1,1,1,5,5,1".encode("utf-16"), "it is UTF-16 text; save it as UTF-8"),
        ("1,1,1,1,5,5,é".encode("latin-1"), "it is not UTF-8 text; save it as UTF-8"),
    ],
    ids=["gzip", "zip", "UTF-16", "Latin-1"],
)
def test_what_is_no_text_is_called_what_it_is(
    tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CionError, match=says):
        source.read(tmp_path / name)


@pytest.mark.parametrize("frames", [pd.to_datetime(range(72)), [[1]] * 72])
def test_columns_of_another_kind_are_named(here: Path, frames: object) -> None:
    scene()[0].assign(frame=frames).to_parquet("c.parquet")
    with pytest.raises(CionError, match="column frame: must be whole numbers"):
        source.read(Path("c.parquet"))


def test_classes_are_told_and_chosen(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("gt.txt").write_text("1,1,1,1,9,9,1,1,1\n2,1,1,1,9,9,1,1,1\n1,2,50,1,9,9,1,3,1\n")
    assert len(source.read(Path("gt.txt")).crops) == 2
    said = capsys.readouterr().out
    assert "classes are 1 (2 lines), 3 (1 lines); people are 1, which --class can change" in said
    assert "1 lines are no crops: class 3" in said
    found = source.read(Path("gt.txt"), (1, 3))
    assert len(found.crops) == 3 and found.unused["classes"] == {"1": 2, "3": 1}


def test_tables_that_hold_no_crops_are_named(here: Path) -> None:
    crops, _ = scene()
    crops.drop(columns="video").to_csv("crops.csv", index=False)
    with pytest.raises(CionError, match="video"):
        source.read(Path("crops.csv"))
    crops[:0].to_csv("crops.csv", index=False)
    with pytest.raises(CionError, match="no crops in it"):
        source.read(Path("crops.csv"))
    Path("crops.csv").write_bytes(b"")
    with pytest.raises(CionError, match=r"crops\.csv: it is empty"):
        source.read(Path("crops.csv"))
    Path("crops.parquet").write_bytes(b"PAR1")
    with pytest.raises(
        CionError, match=r"not a readable Parquet file \(damaged, cut off, or of another format\)$"
    ):
        source.read(Path("crops.parquet"))
