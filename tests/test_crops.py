from __future__ import annotations

import multiprocessing
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from cion_core.crops import CropStore, CropWriter
from cion_core.errors import CionError


def picture(seed: int, height: int = 40, width: int = 20) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (4, 2, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def store(tmp_path: Path) -> CropStore:
    rows = []
    for shard in ("a.tar", "b.tar"):
        with CropWriter(tmp_path / shard) as writer:
            for _ in range(5):
                crop = len(rows)
                offset, size = writer.add(str(crop), picture(crop))
                rows.append({"crop": crop, "shard": shard, "offset": offset, "size": size})
    return CropStore(tmp_path, pd.DataFrame(rows).iloc[::-1])


def test_each_crop_is_found_in_any_order(store: CropStore) -> None:
    for row in (3, 9, 0, 5):
        difference = store.read(row).astype(int) - picture(9 - row)  # rows are reversed
        assert np.abs(difference).mean() < 4, "JPEG at quality 95 is close to what went in"


def test_the_shard_is_a_plain_tar(store: CropStore) -> None:
    with tarfile.open(store.root / "b.tar") as tar:
        assert tar.getnames() == [f"{i}.jpg" for i in range(5, 10)]
        assert tar.extractfile("7.jpg").read() == store.jpeg(2)


def test_red_stays_red(tmp_path: Path) -> None:
    with CropWriter(tmp_path / "a.tar") as writer:
        offset, size = writer.add("0", np.full((16, 16, 3), (255, 0, 0), np.uint8))
    table = pd.DataFrame({"crop": [0], "shard": ["a.tar"], "offset": [offset], "size": [size]})
    assert CropStore(tmp_path, table).read(0).reshape(-1, 3).mean(0).argmax() == 0


def test_a_grey_jpeg_has_three_channels(tmp_path: Path) -> None:
    data = cv2.imencode(".jpg", np.full((8, 8), 90, np.uint8))[1].tobytes()
    (tmp_path / "a.tar").write_bytes(data)
    table = pd.DataFrame({"crop": [0], "shard": ["a.tar"], "offset": [0], "size": [len(data)]})
    assert CropStore(tmp_path, table).read(0).shape == (8, 8, 3)


def test_many_threads_read_more_shards_than_may_be_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cion_core.crops.OPEN_SHARDS", 2)
    rows = []
    for crop in range(8):
        with CropWriter(tmp_path / f"{crop}.tar") as writer:
            offset, size = writer.add(str(crop), picture(crop))
        rows.append({"crop": crop, "shard": f"{crop}.tar", "offset": offset, "size": size})
    store = CropStore(tmp_path, pd.DataFrame(rows))
    wanted = [store.jpeg(row) for row in range(8)]
    order = np.random.default_rng(0).integers(0, 8, 4000).tolist()
    with ThreadPoolExecutor(8) as pool:
        assert all(
            data == wanted[row]
            for row, data in zip(order, pool.map(store.jpeg, order), strict=True)
        )
    shards = [f"{tmp_path}/{crop}.tar" for crop in range(8)]
    held = [os.path.realpath(file) for file in Path("/proc/self/fd").iterdir()]
    assert len(set(held) & set(shards)) == 2


def test_a_corrupt_crop_is_named(store: CropStore) -> None:
    with tarfile.open(store.root / "b.tar") as tar:
        start = tar.getmember("7.jpg").offset_data
    with open(store.root / "b.tar", "r+b") as file:
        file.seek(start)
        file.write(b"\0" * 64)
    with pytest.raises(CionError, match=r"b\.tar, crop 7 .*not a decodable JPEG"):
        store.read(2)


def test_a_shard_cut_short_or_gone_is_named(store: CropStore) -> None:
    with open(store.root / "b.tar", "r+b") as file:
        file.truncate(600)
    with pytest.raises(CionError, match=r"b\.tar.*ends early"):
        store.read(0)
    (store.root / "a.tar").unlink()
    with pytest.raises(CionError, match=r"a\.tar.*missing"):
        store.read(9)


def test_a_failed_writer_leaves_no_shard(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), CropWriter(tmp_path / "a.tar") as writer:
        writer.add("0", picture(0))
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_forked_workers_read_at_once(store: CropStore) -> None:
    expected = [store.jpeg(row) for row in range(10)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(store.jpeg, range(10)) == expected
