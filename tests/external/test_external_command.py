"""`cion denoise --crops`: the public call from files, and whatever is wrong with them by name."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from cion_core import cli, tables
from cion_core.denoise import Noise, denoise
from cion_core.errors import CionError
from cion_core.external import command as files
from cion_core.external import formats


def scene(people: int = 6, videos: int = 3) -> tuple[pd.DataFrame, np.ndarray]:
    """Everybody walks through every video, two at a time."""
    rng = np.random.default_rng(0)
    looks, rows, features = rng.normal(size=(people, 16)), [], []
    for video in range(videos):
        for person in range(people):
            for step in range(4):
                x = 40.0 * person
                rows.append((f"cam/{video}.mp4", 4 * (person // 2) + step, video * people + person + 1, x, 0.0))
                features.append(looks[person] + 0.25 * rng.normal(size=16))
    crops = pd.DataFrame(rows, columns=["video", "frame", "tracklet", "x1", "y1"])
    crops = crops.assign(x2=crops.x1 + 30, y2=60.0, confidence=0.9)
    crops.insert(0, "crop", np.arange(len(crops))[::-1] + 7)
    return crops, np.array(features, np.float16)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with crops.parquet and features.npy, and no project around it."""
    monkeypatch.chdir(tmp_path)
    crops, features = scene()
    crops.to_parquet("crops.parquet", index=False)
    np.save("features.npy", features)
    return tmp_path


def command(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, ["denoise", *arguments], env={"COLUMNS": "300", "TERM": "dumb"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def written(out: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    return (
        tables.read(tables.Identities, out / "identities.parquet"),
        tables.read(tables.Ledger, out / "ledger.parquet"),
        json.loads((out / "audit.json").read_text()),
    )


def test_a_process_gives_what_the_call_gives(here: Path) -> None:
    knobs = ["--radius", "0.5", "--linking", "published", "--separation", "0.2", "--sliding-range", "8",
             "--stride", "3", "--no-cannot-link", "--min-crops", "2", "--no-centre"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "cion_core.cli", "denoise", "--crops", "crops.parquet", "--features", "features.npy",
         "--out", "out", *knobs],
        capture_output=True, text=True, timeout=120, env={"PYTHONPATH": str(Path(cli.__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    crops, features = scene()
    want = denoise(
        crops, features, noise=Noise(0.5, 0.2), linking="published", sliding_range=8, stride=3, cannot_link=False,
        min_crops=2, centre=False,
    )  # fmt: skip
    identities, ledger, audit = written(here / "out")
    pd.testing.assert_frame_equal(identities, want.identities, check_dtype=False)
    pd.testing.assert_frame_equal(ledger, want.ledger, check_dtype=False)
    assert all(f"denoise: {level}: {audit[level]['identities']} identities" in done.stdout for level in tables.LEVELS)
    assert all(audit[level]["radius"] == 0.5 and audit[level]["truth"] is None for level in tables.LEVELS)
    assert not (here / "out/annotations.json").exists() and not (here / "out/mot").exists()


def test_what_is_not_given_is_the_public_calls_default(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}
    monkeypatch.setattr(files, "run", lambda *_, **knobs: seen.update(knobs))
    assert command("--crops", "crops.parquet", "--features", "features.npy", "--out", "out")[0] == 0
    public = inspect.signature(denoise).parameters
    assert seen.pop("noise") == Noise() and public["noise"].default is None
    assert seen and seen == {name: public[name].default for name in seen}


def test_videos_are_added_to_an_earlier_folder(here: Path) -> None:
    crops, features = scene()
    old = (crops.video != "cam/1.mp4").to_numpy()
    crops[old].to_parquet("old.parquet", index=False)
    np.save("old.npy", features[old])
    assert command("--crops", "old.parquet", "--features", "old.npy", "--out", "out")[0] == 0
    want = denoise(crops, features, earlier=denoise(crops[old], features[old]))
    for out in ("other", "out"):  # elsewhere, and in its place
        code, output = command(
            "--crops", "crops.parquet", "--features", "features.npy", "--out", out, "--earlier", "out"
        )  # fmt: skip
        assert code == 0, output
        identities, ledger, audit = written(here / out)
        pd.testing.assert_frame_equal(identities, want.identities, check_dtype=False)
        assert len(identities) == audit["cross_video"]["crops"] > 0.9 * len(crops)
        assert sorted(ledger.crop[ledger.level == "tracklet"]) == sorted(crops.crop)
    (here / "out/audit.json").rename(here / "audit.json")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):  # a call that is cut off as it writes
        patch.setattr(files.work, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        files.write(here / "out", files.read(Path("crops.parquet")), want)
    (here / "audit.json").rename(here / "out/audit.json")
    again = ["--crops", "crops.parquet", "--features", "features.npy", "--out", "out", "--earlier", "out"]
    code, output = command(*again)
    assert code == 1 and "earlier.json: no such file" in output
    assert command(*again[:-2])[0] == 0
    np.save("features.npy", features + 1)
    code, output = command(
        "--crops", "crops.parquet", "--features", "features.npy", "--out", "out", "--earlier", "out"
    )  # fmt: skip
    assert code == 1 and "have other features in the earlier result" in output
    code, output = command(
        "--crops", "crops.parquet", "--features", "features.npy", "--out", "out", "--earlier", "out", "--radius", "1"
    )  # fmt: skip
    assert code == 2 and "--radius has no say with --earlier" in output


@pytest.mark.parametrize("name", ["crops.parquet", "crops.csv"])
def test_tables_with_paths_become_annotations(here: Path, name: str) -> None:
    crops, _ = scene()
    crops = crops.assign(path=[f"a/{crop}.jpg" for crop in crops.crop], identity=99, video="007")
    crops.to_csv("crops.csv", index=False)
    crops.to_parquet("crops.parquet", index=False)
    code, output = command("--crops", name, "--features", "features.npy", "--out", "out")
    assert code == 0, output
    identities, _, _ = written(here / "out")
    assert not identities.empty
    want = {f"a/{crop}.jpg": identity for crop, identity in zip(identities.crop, identities.identity, strict=True)}
    back = formats.read_annotations(here / "out/annotations.json")
    assert dict(zip(back.path, back.identity, strict=True)) == want
    assert "annotations.json" in output
    assert files.read_table(Path(name)).video.unique().tolist() == ["007"]  # names, not numbers


def test_mot_in_mot_out(here: Path) -> None:
    crops, features = scene()
    formats.write_mot(here / "tracks", crops, crops.rename(columns={"tracklet": "identity"}))
    # Lines in the order of the files; one more, outside of the frame, has a feature of its own.
    order = crops.sort_values(["video", "frame", "tracklet"]).index
    first = sorted((here / "tracks/cam").glob("*"))[0]
    first.write_text("1,99,-50,1,20,20,0.9,-1,-1,-1\n" + first.read_text())
    np.save("features.npy", np.concatenate([np.zeros((1, 16), np.float16), features[order]]))
    code, output = command("--crops", "tracks", "--features", "features.npy", "--out", "out")
    assert code == 0, output
    assert "1 lines are no crops: box without area" in output
    identities, _, _ = written(here / "out")
    direct = denoise(crops, features).identities.set_index("crop").identity
    rows = pd.Series(np.arange(len(order)) + 1, index=crops.crop[order])
    groups = pd.Series(identities.identity.to_numpy(), index=identities.crop)
    assert len(direct) == len(groups) > 0
    pairs = set(zip(direct, groups[rows[direct.index]], strict=True))
    assert len(pairs) == direct.nunique() == groups.nunique()  # the same people under other names
    back, _ = formats.read_mot(here / "out/mot")
    assert len(back) == len(identities)
    assert sorted(video for video, _ in formats.mot_files(here / "out/mot")) == sorted(crops.video.unique())
    text = pd.concat(pd.read_csv(path, header=None) for path in sorted((here / "out/mot/cam").glob("*")))
    assert set(text[1]) == set(identities.identity)


def test_images_are_embedded(here: Path) -> None:
    rng = np.random.default_rng(0)
    Path("models/stripes").mkdir(parents=True)
    card = Path(cli.__file__).parents[1] / "models/stripes/card.json"
    Path("models/stripes/card.json").write_text(card.read_text())
    for video, person, frame in np.ndindex(2, 2, 3):
        path = here / f"images/v{video}/person {person}/{frame + 10 * person}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = np.array([[30, 40, 200], [200, 60, 20]])[person]
        cv2.imwrite(str(path), np.clip(colour + rng.normal(0, 9, (64, 32, 3)), 0, 255).astype(np.uint8))
    code, output = command("--crops", "images", "--model", "models/stripes", "--out", "out", "--separation", "0.4")
    assert code == 0, output
    features = np.load(here / "out/features.npy")
    assert features.shape[0] == 12 and features.dtype == np.float16
    got = formats.read_annotations(here / "out/annotations.json")
    assert set(got.path) == set(formats.read_folders("images").path)
    person = got.path.str.contains("person 1")
    assert not set(got.identity[person]) & set(got.identity[~person])
    # The features that were written can be given instead.
    assert command("--crops", "images", "--features", "out/features.npy", "--out", "b", "--separation", "0.4")[0] == 0
    pd.testing.assert_frame_equal(written(here / "out")[0], written(here / "b")[0])
    (here / "images/v0/person 0/1.jpg").write_bytes(b"no image")
    code, output = command("--crops", "images", "--model", "models/stripes", "--out", "c")
    assert code == 1 and "person 0/1.jpg: not a readable image" in output


def test_frames_counted_anew_in_each_tracklet_are_said(here: Path) -> None:
    for tracklet, frame in np.ndindex(2, 3):
        path = here / f"images/v/{tracklet}/{frame}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    np.save("six.npy", np.random.default_rng(0).normal(size=(6, 4)))
    code, output = command("--crops", "images", "--features", "six.npy", "--out", "out", "--radius", "2")
    assert code == 0 and "--no-cannot-link" in output


def test_sequences_with_their_frames_are_mot(here: Path) -> None:
    for name, text in (("gt/gt.txt", "1,1,1,1,10,20,1,1,1\n"), ("img1/000001.jpg", "a whole frame, no crop")):
        path = here / "S" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert [files.read(Path(what)).form for what in ("S", ".", "S/gt/gt.txt")] == ["mot"] * 3


FROM = ("--crops", "crops.parquet", "--features", "features.npy", "--out", "out")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "needed is LEVEL (tracklet, video, cross_video), or both --crops and --out"),
        (["--crops", "crops.parquet", "--features", "features.npy"], "needed is LEVEL"),
        (["video", *FROM], "video goes by params.yaml; --crops is without LEVEL"),
        (["video", "--false-link-rate", "0.1"], "--false-link-rate is without LEVEL"),
        (["videos"], "'tracklet', 'video', 'cross_video'"),
        ([*FROM, "--radius", "0"], "must be above 0"),
        ([*FROM, "--separation", "2.5"], "'--separation'"),
        ([*FROM, "--false-link-rate", "0"], "must be above 0"),
        ([*FROM, "--min-crops", "0"], "'--min-crops'"),
        ([*FROM, "--linking", "best"], "'reciprocal', 'published'"),
        ([*FROM, "--sliding-range", "1"], "'--sliding-range'"),
        ([*FROM, "--sliding-range", "5", "--stride", "5"], "--stride 5 must be below --sliding-range, which is 5"),
        ([*FROM, "--stride", "5"], "--stride 5 must be below --sliding-range, which is not given"),
    ],
)
def test_wrong_use_is_named(here: Path, arguments: list[str], says: str) -> None:
    code, output = command(*arguments)
    assert code == 2 and says in output
    assert not (here / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (FROM[:2] + FROM[4:], "--features FILE.npy or, for a folder of images, --model FOLDER: one of them"),
        ([*FROM, "--model", "models/stripes"], "one of them"),
        (["--crops", "none.parquet", *FROM[2:]], "none.parquet: no such file or folder; valid: a crops table"),
        (["--crops", "features.npy", *FROM[2:]], "features.npy: valid: a crops table"),
        (["--crops", "crops.parquet", "--model", "models/stripes", "--out", "out"], "holds no images to embed"),
        (["--crops", "empty", "--features", "features.npy", "--out", "empty/out"], "lies in --crops empty"),
        (["--crops", "empty", *FROM[2:]], "no MOT text in it"),
        ([*FROM[:3], "none.npy", *FROM[4:]], "none.npy: no such file"),
        ([*FROM[:3], "crops.parquet", *FROM[4:]], "crops.parquet: not a .npy file"),
        ([*FROM[:3], "void.npy", *FROM[4:]], "void.npy: not a .npy file"),
        ([*FROM[:3], "flat.npy", *FROM[4:]], "found float64 (3,), must be numbers of shape [N, D]"),
        ([*FROM[:3], "text.npy", *FROM[4:]], "found <U1 (3, 1)"),
        ([*FROM[:3], "zip.npz", *FROM[4:]], "found an archive"),
        ([*FROM[:3], "short.npy", *FROM[4:]], "short.npy: 5 features, but crops.parquet has 72 rows"),
        ([*FROM[:3], "nan.npy", *FROM[4:]], "nan.npy: crops and features do not fit"),
        ([*FROM, "--min-crops", "9"], "nothing is left of 72 crops"),
    ],
)
def test_wrong_files_are_named(here: Path, arguments: list[str], says: str) -> None:
    (here / "empty").mkdir()
    (here / "void.npy").touch()
    np.save("flat.npy", np.ones(3))
    np.save("text.npy", np.array([["a"]] * 3))
    np.savez("zip.npz", np.ones(3))
    np.save("short.npy", np.ones((5, 16)))
    np.save("nan.npy", np.full((72, 16), np.nan, np.float32))
    code, output = command(*arguments)
    assert code == 1 and says in output
    assert not (here / "out").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"frame": 1.5}, r"column frame: must be whole numbers, rows \[0, 1, 2, 3, 4\], found \[1.5"),
        ({"frame": -1}, "column frame: greater_than_or_equal_to"),
        ({"tracklet": "x"}, "column tracklet: "),
        ({"crop": 3}, "column crop: field_uniqueness"),
        ({"x1": ""}, "column x1: "),
        ({"path": "one.jpg"}, "column path: field_uniqueness"),
    ],
)
def test_a_wrong_csv_is_named(here: Path, change: dict, says: str) -> None:
    crops, _ = scene()
    crops.assign(**change).to_csv("crops.csv", index=False)
    with pytest.raises(CionError, match=f"^crops.csv: .*(\n.*)*{says}"):
        files.read(Path("crops.csv"))


def test_tables_that_are_none(here: Path) -> None:
    crops, _ = scene()
    crops.drop(columns="video").to_csv("crops.csv", index=False)
    with pytest.raises(CionError, match="video"):
        files.read(Path("crops.csv"))
    crops[:0].to_csv("crops.csv", index=False)
    with pytest.raises(CionError, match="no crops in it"):
        files.read(Path("crops.csv"))
    Path("crops.csv").write_bytes(b"")
    with pytest.raises(CionError, match="not a CSV table"):
        files.read(Path("crops.csv"))
    Path("crops.parquet").write_bytes(b"PAR1")
    with pytest.raises(CionError, match="not a readable Parquet"):
        files.read(Path("crops.parquet"))


def test_help_shows_every_knob(here: Path) -> None:
    code, output = command("--help")
    knobs = {"radius", "separation", *inspect.signature(denoise).parameters} - {"noise"}
    shown = {name for name in knobs if f"--{name.replace('_', '-')}" in output}
    assert code == 0 and {"linking", "sliding_range", "stride", "cannot_link", "min_crops", "centre"} <= shown
