"""The crop store: one tar of JPEGs per video, and random access to any of them by offset.

The tars open with any tar program; `crops.parquet` holds each JPEG's shard, offset and size, so
that reading one is a single pread, safe from many threads and processes at once.
"""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from cion_core.errors import CionError

JPEG_QUALITY = 95
OPEN_SHARDS = 128


class CropWriter:
    """Writes one video's crops into one tar.

    Use as a context manager: the shard appears under its name only when complete.
    """

    def __init__(self, path: Path | str) -> None:
        """Begin a shard.

        Args:
            path: the tar; its folder is made if absent.
        """
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A process of a try that was given up may still write. It has a file of its own.
        self._temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        self._tar = tarfile.open(self._temporary, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    def add(self, name: str, image: np.ndarray) -> tuple[int, int]:
        """Append an image as JPEG.

        Args:
            name: of the file in the tar.
            image: RGB uint8 [H, W, 3].

        Returns:
            Offset and size of its bytes in the tar.

        Raises:
            CionError: OpenCV cannot encode it.
        """
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        is_encoded, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not is_encoded:
            raise CionError(
                f"{self.path}: OpenCV could not encode crop {name} of shape {image.shape}"
            )
        info = tarfile.TarInfo(f"{name}.jpg")
        info.size = len(data)
        self._tar.addfile(info, io.BytesIO(data.tobytes()))
        # The tar now ends behind the JPEG, which is filled up to whole blocks.
        blocks = -(-info.size // tarfile.BLOCKSIZE)
        return self._tar.offset - blocks * tarfile.BLOCKSIZE, info.size

    def __enter__(self) -> CropWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._tar.close()
        if kind is None:
            os.replace(self._temporary, self.path)
        else:
            self._temporary.unlink(missing_ok=True)


class CropStore:
    """Random access to the crops of a table, by its rows."""

    def __init__(self, root: Path | str, crops: pd.DataFrame) -> None:
        """Open no shard yet.

        Args:
            root: the folder of the shards.
            crops: crop, shard, offset and size; `read(i)` is the crop in row i of it.
        """
        self.root = Path(root)
        self._crop = crops["crop"].to_numpy()
        self._row = crops.index
        self._shards, names = pd.factorize(crops["shard"])
        self._names = list(names)
        self._offset = crops["offset"].to_numpy(np.int64)
        self._size = crops["size"].to_numpy(np.int64)
        self._open: OrderedDict[int, int] = OrderedDict()
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._crop)

    def jpeg(self, row: int) -> bytes:
        """Read the JPEG of a crop.

        Args:
            row: of the table.

        Returns:
            Its bytes.

        Raises:
            CionError: the shard is missing, or ends early.
        """
        shard = int(self._shards[row])
        if self._pid != os.getpid():  # a forked worker keeps its own table of open files
            self._open, self._lock, self._pid = OrderedDict(), threading.Lock(), os.getpid()
        with self._lock:  # or another thread might close the file meanwhile
            data = os.pread(self._descriptor(shard), int(self._size[row]), int(self._offset[row]))
        if len(data) != self._size[row]:
            raise CionError(
                f"{self._place(row)}: the shard ends early; `dvc checkout` or extract again"
            )
        return data

    def read(self, row: int) -> np.ndarray:
        """Read a crop.

        Args:
            row: of the table.

        Returns:
            RGB uint8 [H, W, 3]; a greyscale JPEG has three equal channels.

        Raises:
            CionError: the shard is missing or ends early, or the JPEG cannot be decoded.
        """
        image = cv2.imdecode(np.frombuffer(self.jpeg(row), np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise CionError(
                f"{self._place(row)}: not a decodable JPEG; `dvc checkout` or extract again"
            )
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def _place(self, row: int) -> str:
        shard = self.root / self._names[self._shards[row]]
        return f"{shard}, crop {self._crop[row]} at byte {self._offset[row]} (row {self._row[row]})"

    def _descriptor(self, shard: int) -> int:
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard]
        path = self.root / self._names[shard]
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise CionError(
                f"{path}: the shard is missing; `dvc checkout` or extract again"
            ) from None
        self._open[shard] = descriptor
        if len(self._open) > OPEN_SHARDS:
            os.close(self._open.popitem(last=False)[1])
        return descriptor

    def __getstate__(self) -> dict:
        # Open files and locks belong to a process. `jpeg` makes them anew, since no process is -1.
        return {**self.__dict__, "_open": OrderedDict(), "_pid": -1, "_lock": None}
