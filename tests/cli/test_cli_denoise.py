"""`cion denoise --crops`: each option is the library call's.

Wrong use is named before anything is written.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import scene

from cion_core import tables
from cion_core.denoise import Settings, denoise
from cion_core.denoise.linking.rules import RULES
from cion_core.external import command

FROM = ("--crops", "crops.parquet", "--features", "features.npy", "--out", "out")
SPARSE = """
from cion_core.config import Fraction, Section
from cion_core.denoise.linking.rules.published import Published


class Sparse(Published):
    about = "as published, at a share of the separation"

    class Settings(Section):
        share: Fraction

    def link(self, nodes, points, separation, radius):
        return super().link(nodes, points, self.settings.share * separation, radius)
"""


def written(out: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    return (
        tables.read(tables.Identities, out / "identities.parquet"),
        tables.read(tables.Ledger, out / "ledger.parquet"),
        json.loads((out / "audit.json").read_text()),
    )


def same(out: Path, settings: Settings) -> bool:
    """Whether `out` holds what the call gives with these settings."""
    want, (identities, ledger, audit) = denoise(*scene(), settings), written(out)
    plain = {"level": str, "action": str, "rule": str}
    return (
        identities.astype(int).equals(want.identities.astype(int))
        and ledger.astype(plain).equals(want.ledger.astype(plain))
        and audit == want.audit
    )


@pytest.fixture
def asked(here: Path, monkeypatch: pytest.MonkeyPatch, cion: Callable) -> Callable[..., tuple]:
    """asked(*words): what `cion denoise` asks the room for, in place of doing it."""
    seen = []
    monkeypatch.setattr(
        command, "run", lambda *values, **named: seen.append((*named.values(), *values))
    )

    def ask(*words: str) -> tuple:
        code, output = cion("denoise", *words)
        assert code == 0, output
        return seen.pop()

    return ask


def test_a_process_with_a_rule_in_one_file_gives_what_the_call_gives(
    here: Path, own_file: Callable
) -> None:
    own_file(SPARSE)
    options = [
        "--tracklet-cut",
        "1.5",
        "--tracklet-radius",
        "0.5",
        "--video-radius",
        "0.4",
        "--video-separation",
        "0.1",
        "--cross-video-separation",
        "0.4",
        "--linking",
        "mine.Sparse",
        "--set",
        "mine.Sparse.share=0.5",
        "--sliding-range",
        "8",
        "--stride",
        "3",
        "--no-cannot-link",
        "--min-crops",
        "2",
    ]
    environment = {"PYTHONPATH": str(Path(command.__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        # -P: as the installed `cion` is run
        [sys.executable, "-P", "-m", "cion_core.cli", "denoise", *FROM, *options],
        capture_output=True, text=True, timeout=120, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    settings = {
        "cut": {"tracklet": 1.5},
        "radius": {"tracklet": 0.5, "video": 0.4}, "separation": {"video": 0.1, "cross_video": 0.4},
        "range": 8, "stride": 3, "cannot_link": False, "min_crops": 2,
    }  # fmt: skip
    assert same(
        here / "out", Settings(**settings, linking="mine.Sparse", mine={"Sparse": {"share": 0.5}})
    )
    identities, ledger, audit = written(here / "out")
    assert set(ledger.rule[ledger.level == "cross_video"]) == {"mine.Sparse"}
    assert (
        identities.identity.nunique()
        > denoise(*scene(), Settings(**settings, linking="published")).audit["cross_video"][
            "identities"
        ]
    )
    assert all(
        f"denoise: {level}: {audit[level]['identities']} identities" in done.stdout
        for level in tables.LEVELS
    )
    assert not (here / "out/annotations.json").exists() and not (here / "out/mot").exists()


def test_what_is_not_given_is_the_calls_default(asked: Callable) -> None:
    out, crops, features = Path("out"), Path("crops.parquet"), Path("features.npy")
    assert asked(*FROM) == ((1,), crops, out, features, None, None, Settings())


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ("--tracklet-radius 0.3", {"radius": {"tracklet": 0.3}}),
        ("--video-radius 0.3", {"radius": {"video": 0.3}}),
        ("--cross-video-radius 2", {"radius": {"cross_video": 2.0}}),
        ("--video-separation 0.3", {"separation": {"video": 0.3}}),
        ("--cross-video-separation 0.3", {"separation": {"cross_video": 0.3}}),
        ("--linking published", {"linking": "published"}),
        ("--set reciprocal.centre=no", {"reciprocal": {"centre": False}}),
        (
            "--set reciprocal.centre=true --set reciprocal.centre=false",
            {"reciprocal": {"centre": False}},
        ),
        ("--sliding-range 8", {"range": 8}),
        ("--sliding-range 8 --stride 7", {"range": 8, "stride": 7}),
        ("--no-cannot-link", {"cannot_link": False}),
        ("--false-link-rate 0.2", {"false_link_rate": 0.2}),
        ("--min-crops 3", {"min_crops": 3}),
    ],
)
def test_each_option_is_the_setting_that_it_says(
    asked: Callable, words: str, settings: dict
) -> None:
    given = asked(*FROM, *words.split())[-1]
    assert given == Settings(**settings) != Settings()


def test_files_are_passed_on_as_they_are_named(asked: Callable) -> None:
    words = ("--crops", "images", "--model", "models/stripes", "--out", "b", "--earlier", "a")
    assert asked(*words)[1:-1] == (
        Path("images"),
        Path("b"),
        None,
        Path("models/stripes"),
        Path("a"),
    )


def test_classes_of_people_are_passed_on(asked: Callable) -> None:
    assert asked(*FROM, "--class", "1", "--class", "7")[0] == [1, 7]


def test_a_rules_setting_changes_the_result_as_it_does_in_the_call(
    here: Path, cion: Callable
) -> None:
    code, output = cion("denoise", *FROM, "--set", "reciprocal.centre=false")
    assert code == 0, output
    assert same(here / "out", Settings(reciprocal={"centre": False})) and not same(
        here / "out", Settings()
    )


def test_videos_are_added_to_an_earlier_folder(here: Path, cion: Callable) -> None:
    crops, features = scene()
    old = (crops.video != "cam/1.mp4").to_numpy()
    crops[old].to_parquet("old.parquet", index=False)
    np.save("old.npy", features[old])
    assert (
        cion("denoise", "--crops", "old.parquet", "--features", "old.npy", "--out", "out")[0] == 0
    )
    again = (*FROM, "--earlier", "out")
    code, output = cion("denoise", *again)
    assert code == 0, output
    want = denoise(crops, features, earlier=denoise(crops[old], features[old]))
    pd.testing.assert_frame_equal(written(here / "out")[0], want.identities, check_dtype=False)
    code, output = cion("denoise", *again, "--set", "reciprocal.centre=false")
    assert code == 1 and "it was made with centre True, now False" in output
    np.save("features.npy", features + 1)
    code, output = cion("denoise", *again)
    assert code == 1 and "have other features in the earlier result" in output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "needed is LEVEL (tracklet, video, cross_video), or both --crops and --out"),
        (FROM[:4], "needed is LEVEL"),
        (["video", *FROM], "video goes by params.yaml; --crops is without LEVEL"),
        (["video", "--false-link-rate", "0.1"], "--false-link-rate is without LEVEL"),
        (["video", "--set", "reciprocal.centre=false"], "--set is without LEVEL"),
        (["videos"], "'tracklet', 'video', 'cross_video'"),
        ([*FROM, "--radius", "0.3"], "No such option: --radius"),
        ([*FROM, "--tracklet-radius", "0"], "must be above 0"),
        ([*FROM, "--cross-video-separation", "2.5"], "'--cross-video-separation'"),
        ([*FROM, "--false-link-rate", "0"], "must be above 0 and below 1"),
        ([*FROM, "--false-link-rate", "1"], "must be above 0 and below 1"),
        ([*FROM, "--min-crops", "0"], "'--min-crops'"),
        ([*FROM, "--sliding-range", "1"], "'--sliding-range'"),
        (
            [*FROM, "--sliding-range", "5", "--stride", "5"],
            "--stride 5 must be below --sliding-range, which is 5",
        ),
        ([*FROM, "--stride", "5"], "--stride 5 must be below --sliding-range, which is not given"),
        ([*FROM, "--set", "centre=false"], "--set centre=false: must be reciprocal.KEY=VALUE"),
        ([*FROM, "--set", "reciprocal.centre"], "must be reciprocal.KEY=VALUE"),
        # The radius has an option of its own.
        ([*FROM, "--set", "radius.video=0.3"], "must be reciprocal.KEY=VALUE"),
        (
            [*FROM, "--linking", "published", "--set", "reciprocal.centre=no"],
            "published.KEY=VALUE, since --linking is",
        ),
        ([*FROM, "--set", "reciprocal.centre=[no"], "[no is no value that YAML can read"),
        (
            [*FROM, "--set", "reciprocal.centre=2026-13-01"],
            "2026-13-01 is no value that YAML can read",
        ),
        (
            [*FROM, "--earlier", "a", "--video-radius", "1"],
            "--video-radius cannot be used with --earlier",
        ),
        (
            [*FROM, "--earlier", "a", "--cross-video-separation", "1"],
            "--cross-video-separation cannot be used",
        ),
        ([*FROM, "--earlier", "a", "--sliding-range", "9"], "--sliding-range cannot be used"),
        ([*FROM, "--earlier", "a", "--false-link-rate", "0.1"], "--false-link-rate cannot be used"),
    ],
)
def test_wrong_use_is_named(here: Path, cion: Callable, words: list[str], says: str) -> None:
    before = sorted(os.listdir(here))
    code, output = cion("denoise", *words)
    assert code == 2 and says in output
    assert sorted(os.listdir(here)) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--set", "reciprocal.center=false"],
            "denoise: options:\n  reciprocal.center: unknown key; valid: centre\n",
        ),
        (["--set", "reciprocal.centre=7"], "reciprocal.centre: must be true or false"),
        (
            ["--linking", "best"],
            f"unknown linking rule 'best'; valid are {', '.join(RULES.names())}, or the import",
        ),
        (["--linking", "mine.Best"], "no linking rule called Best"),
        (["--linking", "mine.Sparse"], "mine.Sparse.share: is missing"),
        (["--linking", "yours.Best"], "no module yours.Best or yours that Python can import from"),
        (
            ["--linking", "mine.Sparse", "--set", "mine.Sparse.part=1"],
            "mine.Sparse.part: unknown key",
        ),
    ],
)
def test_rules_and_settings_that_there_are_not_are_named(
    here: Path, own_file: Callable, cion: Callable, words: list[str], says: str
) -> None:
    own_file(SPARSE)
    code, output = cion("denoise", *FROM, *words)
    assert code == 1 and says in output
    assert not (here / "out").exists()


def test_help_shows_an_option_for_every_setting_and_the_rules(cion: Callable) -> None:
    code, output = cion("denoise", "--help")
    fields = dict(Settings.model_fields)
    options = [
        f"--{level}-{kind}".replace("_", "-")
        for kind in ("radius", "separation", "cut")
        for level in fields.pop(kind).annotation.model_fields
    ]
    options += [
        "--sliding-range" if name == "range" else f"--{name.replace('_', '-')}" for name in fields
    ]
    assert code == 0 and len(options) == 12
    assert [
        option for option in [*options, "--set", *FROM[::2], *RULES.names()] if option not in output
    ] == []
