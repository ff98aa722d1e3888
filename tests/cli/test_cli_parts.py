"""Parts are read from their homes: a file that is added there is in every list at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cion_core.benchmark.layouts import LAYOUTS
from cion_core.config import load_yaml
from cion_core.denoise.linking.rules import RULES
from cion_core.pretrain.methods import METHODS
from cion_core.project import KINDS

# The parts that each command names in its help.
HELP = {"pretrain": METHODS, "finetune": METHODS, "denoise": RULES, "export": LAYOUTS}
ADDED = """
from cion_core.registry import Part
from {home} import base

bases = [one for one in vars(base).values() if isinstance(one, type) and issubclass(one, Part) and "of" in vars(one)]


class Added(*bases):
    about = "one of {title}s more"
"""
NOUGHT = {"runs": {"one": {"recipe": "nought", "on": "demo", "from": "pretrain"}}}
ASK = """
import json, sys
from typer.testing import CliRunner
from cion_core.cli import app

size = {"COLUMNS": "300", "TERM": "dumb"}
print(json.dumps([CliRunner().invoke(app, words, env=size).output for words in json.loads(sys.argv[1])]))
"""


def test_every_part_of_every_kind_is_listed_with_its_line(cion: Callable) -> None:
    want = []
    for kind in KINDS:
        want.append([f"{kind.title}s", f"({kind.key});", f"{kind.home}.base"])
        want += [[name, kind.named(name).about] for name in kind.names()]
    code, output = cion("parts")
    lines = output.splitlines()
    assert code == 0 and len(lines) == len(want) > 12
    assert all(piece in line for line, pieces in zip(lines, want, strict=True) for piece in pieces)


@pytest.mark.parametrize("name", HELP)
def test_help_names_the_parts(cion: Callable, name: str) -> None:
    code, output = cion(name, "--help")
    assert code == 0 and ", ".join(HELP[name].names()) in output


def test_a_file_that_is_added_to_a_home_is_in_lists_help_and_errors(
    project: Path, workspace: Path
) -> None:
    shutil.copytree(project / "cion_core", workspace / "cion_core")
    for kind in KINDS:
        home = workspace / kind.home.replace(".", "/")
        (home / "added.py").write_text(ADDED.format(home=kind.home, title=kind.title))
    values = load_yaml(project / "params.yaml")
    named = [
        kind.key.split(".")
        for kind in KINDS
        if "." in kind.key and kind.key.split(".")[0] in values
    ]
    for section, key in named:
        values[section][key] = NOUGHT.get(
            key, ["nought"] if isinstance(values[section][key], list) else "nought"
        )
    (workspace / "params.yaml").write_text(yaml.safe_dump(values))
    (workspace / "model").mkdir()
    (workspace / "model/card.json").write_text('{"embedder": "nought"}')
    (workspace / "a.jpg").touch()
    embed = ["embed", "a.jpg", "--model", "model", "--out", "a.npy"]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            ASK,
            json.dumps([["parts"], ["list"], embed, *([name, "--help"] for name in HELP)]),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": str(workspace), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    parts, unknown, unknown_embedder, *helps = json.loads(done.stdout)
    assert len(named) == len(KINDS) - 1  # the embedder is named in the model's card
    for kind in KINDS:
        assert f"added            one of {kind.title}s more" in parts
        told = unknown if kind.key.split(".") in named else unknown_embedder
        valid = ", ".join(sorted([*kind.names(), "added"]))
        assert (
            f"{kind.key}: unknown {kind.title} 'nought'; valid are {valid}, or the import path"
            in told
        )
    for kind, text in zip(HELP.values(), helps, strict=True):
        assert ", ".join(sorted([*kind.names(), "added"])) in text
