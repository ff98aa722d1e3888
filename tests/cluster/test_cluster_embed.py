"""Embedding on a Ray cluster: the same features as on one machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from packed import pack

from cion_core import tables, work
from cion_core.embed import kept, stage
from cion_core.embed.settings import Embed
from cion_core.errors import CionError
from cion_core.runtime import Runtime

pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")
from cion_core.embed import on_cluster

pytestmark = pytest.mark.slow  # clusters are begun

FEATURES = Path("data/embeddings/features.npy")
BALANCED = Embed(model="stripes", balance=True)
LOCAL, RAY = Runtime(batch=4), Runtime(batch=4, engine="ray")
CROPS = 50


@pytest.fixture
def crops(workspace: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Crops of two videos under data/, and models/stripes; small chunks, so there are several."""
    monkeypatch.setattr(kept, "CHUNK", 8)
    monkeypatch.setattr(on_cluster, "COLOURS_AT_ONCE", 7)
    shutil.copytree(project / "models/stripes", "models/stripes")
    rng = np.random.default_rng(0)
    pack(
        {
            video: [
                (light * rng.integers(0, 256, (40, 16, 3))).astype(np.uint8)
                for _ in range(CROPS // 2)
            ]
            for video, light in (("a.mp4", 0.5), ("b.mp4", 1.0))
        }
    )


def test_features_are_those_of_one_machine_and_what_is_done_is_not_done_again(
    crops, machines, monkeypatch
) -> None:
    stage.run(BALANCED, LOCAL)
    wanted = FEATURES.read_bytes()
    FEATURES.unlink()
    stage.run(BALANCED, RAY)
    assert FEATURES.read_bytes() == wanted
    assert not list((work.ROOT / "embed").iterdir()), "nothing is kept of what is done"

    # As a killed run leaves it: some chunks are there, but not the first; they hold a mark.
    done: list[int] = []
    everything = on_cluster.embed_chunks

    def with_one_done(footage, balanced, model, runtime, folder) -> None:
        mark = np.full((8, np.load(FEATURES).shape[1]), 0.5, np.float16)
        kept.write_chunk(mark, 16, folder)
        everything(footage, balanced, model, runtime, folder)
        done.extend(sorted(int(path.stem) for path in folder.iterdir()))

    monkeypatch.setattr(on_cluster, "embed_chunks", with_one_done)
    stage.run(BALANCED, RAY)
    features = np.load(FEATURES)
    assert (features[16:24] == 0.5).all()
    assert done == list(range(0, CROPS, 8))
    others = [*range(16), *range(24, CROPS)]
    header = len(wanted) - features.nbytes
    assert np.array_equal(
        features[others], np.frombuffer(wanted[header:], np.float16).reshape(features.shape)[others]
    )


def test_a_corrupt_crop_is_named_as_on_one_machine(crops, machines) -> None:
    table = tables.read(tables.Crops, "data/tracklets/crops.parquet")
    with open("data/tracklets/crops/b.mp4.tar", "r+b") as file:
        file.seek(table.offset[37])
        file.write(b"\x00" * int(table["size"][37]))
    said = []
    for runtime in (LOCAL, RAY):
        with pytest.raises(
            CionError, match=r"b\.mp4\.tar, crop 137 at byte \d+ \(row 37\): not a decodable"
        ) as error:
            stage.run(BALANCED, runtime)
        said.append(str(error.value))
    assert said[0] == said[1]
    assert list(Path("data/embeddings").iterdir()) == []
