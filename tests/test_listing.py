"""What lies outside DVC's sight, as files that it can see."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from own_parts import own_file  # noqa: F401

from cion_core import listing, work
from cion_core.errors import CionError

MINE = """
from cion_core.denoise.linking.rules import RULES
from cion_core.finetune.recipes import RECIPES
from cion_core.registry import Part


class Rule(Part):
    of, about = RULES, "a rule of mine"


class Recipe(Part):
    of, about = RECIPES, "a recipe of mine"
"""
READER = ("__init__", "clock", "container", "decoder", "looks", "problems", "sequence", "video")
SHA = {text: hashlib.sha256(text.encode()).hexdigest() for text in ("one", "two", "three")}


@pytest.fixture
def clips(workspace: Path) -> Path:
    """A folder of two clips; models/stripes is there."""
    for name, text in {"b.mp4": "two", "cam1/a.mp4": "one"}.items():
        (workspace / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace / "clips" / name).write_text(text)
    return workspace / "clips"


@pytest.fixture
def params(project: Path, own_file: Callable) -> Callable[..., SimpleNamespace]:  # noqa: F811
    """params(key=value): what the listing asks of params.yaml, with these parts changed."""
    shutil.copytree(project / "models/stripes", "models/stripes")
    own_file(MINE)

    def make(**changes: object) -> SimpleNamespace:
        chosen = {
            "detector": "motion",
            "tracker": "sort",
            "rule": "mine.Rule",
            "methods": ["lup", "cion"],
            "earlier": None,
            "confidence": None,
            "benchmarks": {"people": "clips"},
            "files": {},
            **changes,
        }
        named = SimpleNamespace(files=chosen["files"])
        return SimpleNamespace(
            ingest=SimpleNamespace(source="clips"),
            extract=SimpleNamespace(detector=chosen["detector"], tracker=chosen["tracker"]),
            embed=SimpleNamespace(model="stripes"),
            denoise=SimpleNamespace(linking=chosen["rule"], earlier=chosen["earlier"]),
            benchmark=SimpleNamespace(sources=chosen["benchmarks"], layout="market1501"),
            pretrain=SimpleNamespace(
                methods=chosen["methods"],
                min_confidence=chosen["confidence"],
                settings=lambda name: named if name == "published" else SimpleNamespace(),
            ),
            finetune=SimpleNamespace(runs={"own": SimpleNamespace(recipe="mine.Recipe")}),
        )

    return make


def test_clips_are_listed_by_name_with_size_and_hash(clips: Path) -> None:
    (clips / "notes.txt").write_text("no clip")
    assert listing.list_videos("clips") == {
        "source": "clips",
        "files": [
            {"name": "b.mp4", "size": 3, "sha256": SHA["two"]},
            {"name": "cam1/a.mp4", "size": 3, "sha256": SHA["one"]},
        ],
        "passed_over": {".txt": 1},
    }
    listing.list_benchmarks({"people": "clips"}, Path("out"))
    listed = json.loads(Path("out/people.json").read_text())
    assert [file["name"] for file in listed["files"]] == ["b.mp4", "cam1/a.mp4", "notes.txt"]


def test_a_world_is_its_description_alone(clips: Path) -> None:
    (clips / "world.yaml").write_text("one")
    assert listing.list_videos("clips") == {"source": "clips", "world": {"world.yaml": SHA["one"]}}
    listing.list_benchmarks({"people": "clips"}, Path("out"))
    assert json.loads(Path("out/people.json").read_text()) == listing.list_videos("clips")


def test_what_cannot_be_read_is_listed_with_the_systems_reason(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clips / "lost.mp4").symlink_to("nowhere.mp4")
    (clips / "locked.mp4").write_text("three")
    os.mkfifo(clips / "pipe.mp4")
    digest = work.sha256

    def sha256(path: Path) -> str:  # the tests may run as root, who may read everything
        if path.name == "locked.mp4":
            raise PermissionError(13, "Permission denied")
        return digest(path)

    monkeypatch.setattr(work, "sha256", sha256)
    reasons = {file["name"]: file.get("reason") for file in listing.list_videos("clips")["files"]}
    assert reasons == {
        "b.mp4": None,
        "cam1/a.mp4": None,
        "lost.mp4": "No such file or directory",
        "locked.mp4": "Permission denied",
        "pipe.mp4": "not a regular file",
    }


def test_a_name_that_is_not_utf_8(clips: Path) -> None:
    try:
        (Path(os.fsdecode(os.fsencode(clips) + b"/caf\xe9.mp4"))).touch()
    except OSError:
        pytest.skip("this file system takes no such name")
    work.write_json("listing.json", listing.list_videos("clips"))
    assert {"name": r"caf\xe9.mp4", "reason": "its name is not UTF-8"} in listing.list_videos(
        "clips"
    )["files"]


def test_only_what_changed_is_hashed_again(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    digest = work.sha256
    monkeypatch.setattr(work, "sha256", lambda path: hashed.append(path.name) or digest(path))
    first = listing.list_videos("clips")
    assert sorted(hashed) == ["a.mp4", "b.mp4"]
    hashed.clear()
    assert listing.list_videos("clips") == first and hashed == []
    (clips / "b.mp4").write_text("three")
    assert listing.list_videos("clips")["files"][0]["sha256"] == SHA["three"] and hashed == [
        "b.mp4"
    ]


def test_a_file_of_the_same_size_and_time_in_another_ones_place_is_hashed(clips: Path) -> None:
    before = (clips / "b.mp4").stat()
    listing.list_videos("clips")
    (clips / "new").write_text("one")
    os.utime(clips / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(clips / "new", clips / "b.mp4")
    assert listing.list_videos("clips")["files"][0]["sha256"] == SHA["one"]


def test_what_was_hashed_before_a_stop_is_kept(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    digest = work.sha256

    def sha256(path: Path) -> str:
        if path.name == "a.mp4":
            raise KeyboardInterrupt
        return digest(path)

    monkeypatch.setattr(work, "sha256", sha256)
    with pytest.raises(KeyboardInterrupt):
        listing.list_videos("clips")
    monkeypatch.setattr(
        work, "sha256", lambda path: digest(path) if path.name == "a.mp4" else pytest.fail("again")
    )
    listing.list_videos("clips")


@pytest.mark.parametrize(
    ("source", "message"),
    [("nowhere", "no such folder"), ("~/clips", "write the folder out"), ("f", "is a file")],
)
@pytest.mark.parametrize(
    ("key", "of"),
    [
        ("ingest.source", listing.list_videos),
        (
            "benchmark.sources.people",
            lambda source: listing.list_benchmarks({"people": source}, Path("out")),
        ),
        ("denoise.earlier", listing.list_earlier),
    ],
)
def test_a_source_that_is_no_folder(
    workspace: Path, key: str, of: Callable, source: str, message: str
) -> None:
    Path("f").touch()
    with pytest.raises(CionError, match=rf"{key} {source}: .*{message}"):
        of(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", ": is empty; name a folder of videos"),
        ("  ", ": is empty"),
        (".", r" \.: what CION writes lies in it \(data/\)"),
        ("..", r" \.\.: what CION writes lies in it"),
        ("link", " link: what CION writes lies in it"),
        ("data", " data: what CION writes lies in it"),
    ],
)
def test_the_project_itself_is_no_source(workspace: Path, source: str, message: str) -> None:
    Path("link").symlink_to(".")
    Path("data/videos").mkdir(parents=True)
    with pytest.raises(CionError, match=f"^ingest.source{message}"):
        listing.list_videos(source)
    assert listing.list_videos("data/videos")["files"] == [], "a folder in it may be one"


def test_an_earlier_result_is_listed_if_there_is_one(clips: Path) -> None:
    assert listing.list_earlier(None) == {}
    assert listing.list_earlier("clips")["files"][1] == {
        "name": "cam1/a.mp4",
        "size": 3,
        "sha256": SHA["one"],
    }


def links(folder: Path) -> dict[str, str]:
    """Where each link below a folder leads."""
    return {
        path.relative_to(folder).as_posix(): os.readlink(path)
        for path in sorted(folder.rglob("*"))
        if path.is_symlink()
    }


def test_parts_are_links_to_all_files_that_they_are_made_of(
    clips: Path, params: Callable, project: Path
) -> None:
    listing.run(params())
    parts = Path("data/listing/parts")
    assert sorted(path.relative_to(parts).as_posix() for path in parts.glob("*/*")) == [
        "detectors/motion",
        "embedders/stripes",
        "layouts/market1501",
        "linking/mine.Rule",
        "methods/cion",
        "methods/lup",
        "runs/own",
        "trackers/sort",
    ]
    room = "cion_core/extract"
    assert set(links(parts / "detectors/motion")) == {
        f"{room}/detectors/motion.py",
        f"{room}/detectors/__init__.py",
        f"{room}/detectors/base.py",
        f"{room}/settings.py",
        f"{room}/shots.py",
        f"{room}/detectors/_background.py",
        f"{room}/detectors/_silhouettes.py",
        "cion_core/config.py",
        *(f"cion_core/crew/{name}.py" for name in ("__init__", "serving", "worker")),
        "cion_core/__init__.py",
        "cion_core/folders.py",
        "cion_core/image_files.py",
        "cion_core/images.py",
        *(f"cion_core/ingest/{name}.py" for name in READER),
        "cion_core/registry.py",
        "cion_core/sections.py",
        f"{room}/trackers/__init__.py",
    }
    for link in parts.rglob("*.py"):
        assert link.is_symlink() and not os.path.isabs(os.readlink(link))
        name = link.relative_to(parts).parts[2:]
        assert (
            link.resolve()
            == (clips.parent if name == ("mine.py",) else project).joinpath(*name).resolve()
        )


def test_twice_writes_nothing_and_a_part_no_longer_named_goes(
    clips: Path, params: Callable
) -> None:
    listing.run(params())
    folder = Path("data/listing")
    before = {path: path.lstat().st_mtime_ns for path in (folder / "parts").rglob("*")}
    content = {path: path.read_bytes() for path in folder.glob("*.json")}
    listing.run(params())
    assert {path: path.lstat().st_mtime_ns for path in (folder / "parts").rglob("*")} == before
    assert {path: path.read_bytes() for path in folder.glob("*.json")} == content
    listing.run(params(detector="hog", methods=["cion"]))
    assert [path.name for path in sorted((folder / "parts").glob("*/*"))] == [
        "hog", "stripes", "market1501", "mine.Rule", "cion", "own", "sort",
    ]  # fmt: skip


def test_a_confidence_is_known_to_those_methods_alone_that_go_by_links(
    clips: Path, params: Callable
) -> None:
    def listed(**changes: object) -> dict[str, dict]:
        listing.run(params(**changes))
        return {
            path.stem: json.loads(path.read_text())
            for path in Path("data/listing/confidence").iterdir()
        }

    nothing = {"min_confidence": None}
    assert listed() == {"lup": nothing, "cion": nothing}
    assert listed(confidence=0.8) == {"lup": nothing, "cion": {"min_confidence": 0.8}}
    assert listed(methods=["lup"]) == {"lup": nothing}


def test_files_that_a_method_names_are_listed_with_what_is_in_them(
    clips: Path, params: Callable
) -> None:
    def listed(file: str) -> dict:
        listing.run(params(methods=["published", "lup"], files={"resnet18": file}))
        folder = Path("data/listing/confidence")
        assert json.loads((folder / "lup.json").read_text()) == {"min_confidence": None}
        return json.loads((folder / "published.json").read_text())["files"]["resnet18"]

    Path("weights").mkdir()
    Path("weights/a.pth").write_text("one")
    one = {"name": "a.pth", "size": 3, "sha256": SHA["one"]}
    assert listed("weights/a.pth") == listed(str(Path("weights/a.pth").absolute())) == one
    Path("weights/a.pth").write_text("three")
    assert listed("weights/a.pth") == {"name": "a.pth", "size": 5, "sha256": SHA["three"]}
    assert listed("weights/b.pth") == {"name": "b.pth", "reason": "No such file or directory"}


def test_a_link_that_is_in_the_way_or_leads_elsewhere_is_made_anew(
    clips: Path, params: Callable
) -> None:
    listing.run(params())
    parts = Path("data/listing/parts")
    right = links(parts)
    for link in list(parts.rglob("motion.py")):
        link.unlink()
        link.symlink_to("/dev/null")
    copy = next(parts.rglob("market1501.py"))
    copy.unlink()
    copy.write_text("a copy, as some tools make of links")
    listing.run(params())
    assert links(parts) == right


def test_links_hold_where_the_data_folder_is_itself_a_link(clips: Path, params: Callable) -> None:
    Path("disk/deep/down").mkdir(parents=True)
    Path("data").symlink_to("disk/deep/down")
    listing.run(params())
    assert all(link.exists() for link in Path("data/listing/parts").rglob("*.py"))


def test_an_unknown_embedder_in_a_card(clips: Path, params: Callable) -> None:
    Path("models/stripes/card.json").write_text(json.dumps({"embedder": "strips"}))
    with pytest.raises(CionError, match=r"unknown embedder 'strips'; valid are onnx, stripes, zoo"):
        listing.run(params())


def test_studies_are_listed_by_what_they_found(clips: Path, params: Callable) -> None:
    """So the report shows them, and DVC does not run the others for it."""
    listing.run(params())
    listed = Path("data/listing/studies.json")
    assert json.loads(listed.read_text()) == {}
    work.write_json("data/reports/studies/scale.json", {"rows": []})
    listing.run(params())
    assert json.loads(listed.read_text()) == {
        "scale": work.sha256("data/reports/studies/scale.json")
    }
