"""How far linking has come over the Sliding Range: kept in a file, so that a killed run goes on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from scipy import sparse

from cion_core import neighbours, work
from cion_core.denoise.linking.nodes import LinkingResult
from cion_core.neighbours import search
from cion_core.progress import say

# What another version of this code has saved is not used.
CODE = sorted(
    path
    for folder in (Path(__file__).parent, Path(neighbours.__file__).parent)
    for path in folder.glob("*.py")
)


@dataclass
class Progress:
    """What is known after some positions of the Sliding Range.

    Args:
        key: a hash of all that the result depends on.
        searched: positions whose neighbours are found.
        linked: positions that are done.
        sets: int [n], the set of each node, named by its lowest node.
        merges: float64 [M, 3], rows of (node, node, distance).
        index: int32 [n, k+1], the neighbours of each node in its last position.
        close_pairs: int64 [2], pairs of sets that were close enough to link, before and after.
    """

    key: str
    searched: int
    linked: int
    sets: np.ndarray
    merges: np.ndarray
    index: np.ndarray
    close_pairs: np.ndarray

    @classmethod
    def begin_or_resume(
        cls,
        points: np.ndarray,
        forbidden: sparse.csr_matrix,
        initial_sets: np.ndarray,
        size: int | None,
        settings: tuple[float | None, ...],
        saved: Path | None,
    ) -> Progress:
        """What the same work has saved, or the beginning.

        Args:
            points: float32 [n, D], of the nodes.
            forbidden: bool [n, n].
            initial_sets: int [n], the set that each node begins in.
            size: nodes of a position; None: all.
            settings: whatever else the result depends on.
            saved: a file (.npz); None: nothing is kept.
        """
        key = _key(points, forbidden, initial_sets, settings, saved)
        progress = cls._read(saved, key) if saved and saved.is_file() else None
        if progress:
            say(f"denoise: linking goes on after {progress.linked} positions of an earlier run")
            return progress
        count = len(points)
        in_position = min(size, count) if size else count
        others = max(0, in_position - 1)
        width = 1 + min(search.WIDEST, others)
        return cls(
            key=key,
            searched=0,
            linked=0,
            sets=initial_sets,
            merges=np.empty((0, 3)),
            index=np.zeros((count, width), np.int32),
            close_pairs=np.zeros(2, np.int64),
        )

    @classmethod
    def _read(cls, path: Path, key: str) -> Progress | None:
        """What a file holds; None if that is of other work."""
        with np.load(path) as file:
            if str(file["key"]) != key:
                return None
            known = {field.name: file[field.name] for field in fields(cls)}
        known["key"] = key
        for name in ("searched", "linked"):
            known[name] = int(known[name])
        return cls(**known)

    def add_merges(self, merges: list[tuple[int, int, float]]) -> None:
        """Write merges of two sets (set, set, distance) behind the others, the lower set first."""
        rows = [(*sorted(pair), distance) for *pair, distance in merges]
        new_merges = np.array(rows).reshape(-1, 3)
        self.merges = np.concatenate([self.merges, new_merges])

    def save(self, path: Path | None) -> None:
        """Write all of it, whole or not at all; None: nothing is kept."""
        if path:
            with work.atomic(path) as temporary:
                np.savez(temporary, **vars(self))

    def result(self) -> LinkingResult:
        """What is linked, once all positions are done."""
        merges = [(int(i), int(j), distance) for i, j, distance in self.merges.tolist()]
        close_pairs = tuple(self.close_pairs.tolist())
        return LinkingResult(self.sets, merges, {"index": self.index}, close_pairs)


def _key(
    points: np.ndarray,
    forbidden: sparse.csr_matrix,
    initial_sets: np.ndarray,
    settings: tuple[float | None, ...],
    saved: Path | None,
) -> str:
    """A hash of all that the result depends on.

    The arrays and the code are read for it only if it will be saved.
    """
    digest = hashlib.sha256(repr((points.shape, settings)).encode())
    if saved:
        digest.update(work.key(None, *CODE).encode())
        for array in (points, forbidden.indptr, forbidden.indices, initial_sets):
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
