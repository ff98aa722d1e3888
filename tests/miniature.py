"""A copy of the project in miniature, in a folder and git repository of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from cion_core.config import load_yaml

FILES = [
    "cion_core",
    "demo",
    "demo_world",
    "models/stripes",
    "dvc.yaml",
    "params.yaml",
    ".gitignore",
    ".dvcignore",
    ".dvc/config",
    ".dvc/plots",
]
CODE = ("*.pyc", "__pycache__")
TRACER = """
import atexit, json, os, pathlib, sys

def told():
    stage, folder = os.environ.get("DVC_STAGE", "").rpartition(":")[2], os.environ.get("TRACED")
    if stage and folder:
        names = [name for name in sys.modules if name.split(".")[0] in ("cion_core", "demo_world")]
        path = pathlib.Path(folder, f"{stage}.{os.getpid()}.json")
        path.write_text(json.dumps(names))

atexit.register(told)
"""
TRICKS = {"image": None, "epochs": 2, "batch": 8, "instances": 2}
ADAPTED = {"recipe": "cluster_contrast", "on": "elsewhere", "from": "finetune/first"}


class Whole(dict):
    """Values that take the place of all that was there."""


# The other methods are tested in their room; each costs three stages here.
METHODS = ["random", "lup", "cion"]
WORLD = {
    "videos": {
        "people": 6,
        "cameras": 2,
        "count": 4,
        "seconds": 12,
        "appearances": [0.0, 0.5, 0.5],
    },
    "benchmark": {
        "train_people": 6,
        "test_people": 6,
        "cameras": 2,
        "images": [2, 2],
        "junk": 1,
        "distractors": 2,
    },
}
PARAMS = {
    "pretrain": {
        "methods": METHODS,
        "steps": 6,
        "batch": 8,
        "local_views": 1,
        "head": {"out_dim": 32, "hidden": 32, "bottleneck": 16, "batch_norm": True},
        "lup": {
            "lr": 0.03,
            "temperature": 0.1,
            "queue": 32,
            "momentum": 0.99,
            "dim": 16,
            "weight_decay": 0.0001,
        },
    },
    "benchmark": Whole(sources={"demo": "demo"}, layout="market1501", market1501={}),
    "finetune": Whole(
        seed=0,
        runs={"first": {"recipe": "bag_of_tricks", "on": "demo", "from": "pretrain"}},
        bag_of_tricks=TRICKS,
    ),
    "runtime": {"checkpoint_every": 2},
}


class Project:
    """A copy of the project in a folder and git repository of its own."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.folder = folder
        # The modules that each process of a stage had loaded.
        self.traced = folder.parent / f"{folder.name}-traced"
        self.traced.mkdir()
        (self.traced / "sitecustomize.py").write_text(TRACER)
        for name in FILES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if (source / name).is_dir():
                shutil.copytree(source / name, folder / name, ignore=shutil.ignore_patterns(*CODE))
            else:
                shutil.copy(source / name, folder / name)
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.traced), str(folder)]),
            "TRACED": str(self.traced),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "true",
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "user.name",
            "GIT_CONFIG_VALUE_0": "test",
            "GIT_CONFIG_KEY_1": "user.email",
            "GIT_CONFIG_VALUE_1": "test@example.org",
        }
        self.environment.pop("MLFLOW_TRACKING_URI", None)
        self.change("demo/world.yaml", WORLD)
        self.change("params.yaml", PARAMS)
        self.run("git", "init", "-q")
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", "start")

    def change(self, name: str, values: dict) -> None:
        """Overlay nested `values` on a YAML file; what is Whole replaces."""

        def overlay(old: dict, new: dict) -> dict:
            def under(key: str, value: object) -> object:
                if isinstance(value, Whole):
                    return dict(value)
                return overlay(old.get(key, {}), value) if isinstance(value, dict) else value

            return {**old, **{key: under(key, value) for key, value in new.items()}}

        path = self.folder / name
        path.write_text(yaml.safe_dump(overlay(load_yaml(path), values), sort_keys=False))

    def run(self, *command: str, fails: bool = False) -> str:
        """Run a command in the project; its stdout and stderr as one text."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert (done.returncode != 0) == fails, done.stdout[-4000:]
        return done.stdout

    def stale(self) -> set[str]:
        """The stages that `dvc repro` would run again, but `list`, which always runs."""
        return set(json.loads(self.run("dvc", "status", "--json"))) - {"dvc.yaml", "list"}

    def add(self, name: str, text: str) -> None:
        """Write one file."""
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)
