"""The stage `start`: what each training begins with, as files."""

import json
import shutil

import pytest
from stages import BACKBONE, PLAIN

from cion_core.errors import CionError
from cion_core.finetune import stage, start


def test_start_lays_out_images_settings_and_models(data, settings):
    start.run(settings(), "tuned", data)
    folder = data / "start/tuned"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"cion-{BACKBONE}.json", f"cion-{PLAIN}.json", "images.parquet", "run.json",
    ]  # fmt: skip
    told = json.loads((folder / "run.json").read_text())
    assert (told["recipe"], told["on"], told["from"], told["supervised"]) == (
        "bag_of_tricks",
        "set",
        "pretrain",
        True,
    )
    assert told["settings"]["epochs"] == 3 and told["seed"] == 3
    before = (folder / f"cion-{PLAIN}.json").read_bytes()
    path = data / f"pretrain/cion-{BACKBONE}/card.json"
    path.write_text(path.read_text().replace('"cion"', '"cion2"'))
    other = (folder / f"cion-{BACKBONE}.json").read_bytes()
    start.run(settings(), "tuned", data)
    assert (folder / f"cion-{PLAIN}.json").read_bytes() == before, "nothing of it has changed"
    assert (folder / f"cion-{BACKBONE}.json").read_bytes() != other
    with pytest.raises(CionError, match=r"finetune\.runs: no run other; there are tuned"):
        start.run(settings(), "other", data)
    with pytest.raises(
        CionError,
        match=rf"start/tuned/lup-{BACKBONE}\.json: no such file; valid: one of cion-{BACKBONE}",
    ):
        stage.run(settings(), "tuned", "lup", BACKBONE, root=data)
    shutil.rmtree(data / "pretrain")
    with pytest.raises(CionError, match=r"data/pretrain: no model folders"):
        start.run(settings(), "tuned", data)
