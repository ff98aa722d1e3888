"""`cion denoise --crops`: the public call on a user's own files, whatever form the tracklets come in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from cion_core import tables, work
from cion_core.denoise import Denoised, denoise, state
from cion_core.external import formats
from cion_core.denoise.stage import summary
from cion_core.embed import batches, load_embedder
from cion_core.errors import CionError
from cion_core.images import read_image
from cion_core.progress import say

BATCH = 256  # images embedded at once
WHOLE = ("crop", "frame", "tracklet")
VALID = "valid: a crops table (.parquet, .csv), MOT text (.txt or a folder of it), or a folder of images"


class Seen(tables.Table):
    """A user's crops table. Boxes are optional, as is each crop's own image."""

    crop: Series[int] = pa.Field(unique=True, ge=0)
    video: Series[str]
    frame: Series[int] = pa.Field(ge=0)
    tracklet: Series[int] = pa.Field(ge=0)
    x1: Optional[Series[float]]  # noqa: UP045 - how pandera spells a column that may be absent
    y1: Optional[Series[float]]  # noqa: UP045
    x2: Optional[Series[float]]  # noqa: UP045
    y2: Optional[Series[float]]  # noqa: UP045
    path: Optional[Series[str]] = pa.Field(unique=True)  # noqa: UP045


@dataclass(frozen=True)
class Source:
    """crops: the table; features of row i lie in row `rows[i]` of `total` (lines set aside have some too)."""

    crops: pd.DataFrame
    rows: np.ndarray
    total: int
    form: str  # table, mot or images


def run(
    what: Path,
    out: Path,
    features: Path | None = None,
    model: Path | None = None,
    earlier: Path | None = None,
    **knobs: object,
) -> Denoised:
    """Denoise the tracklets of `what` and write `out`: identities.parquet, ledger.parquet and audit.json, which holds
    the audit of each level; annotations.json (CION-AL) where the crops' images are known; mot/VIDEO.txt if MOT text
    came in.

    what: a crops table, MOT text or a folder of images (see `formats`). features: .npy [N, D], row i for the i-th row,
    line or image; or model: a model folder that embeds the images, into `out`/features.npy. earlier: the `out` of a
    call for some of these crops, which have the same numbers still (it may be this `out`). knobs: those of
    `cion_core.denoise.denoise`. A call that was killed while it linked goes on from `out`/linking.npz when it is made
    again. Raises CionError naming the file and what is wrong with it.
    """
    if (features is None) == (model is None):
        raise CionError("needed is --features FILE.npy or, for a folder of images, --model FOLDER: one of them")
    if what.is_dir() and out.resolve().is_relative_to(what.resolve()):
        raise CionError(f"--out {out} lies in --crops {what}, which would be read again: choose another folder")
    source = read(what)
    crops = source.crops
    say(f"denoise: {len(crops)} crops in {crops.tracklet.nunique()} tracklets of {crops.video.nunique()} videos")
    before, saved = state.read_result(earlier) if earlier else None, out / "linking.npz"
    path = embedded(source, what, model, out) if model else features
    values = load_features(path, source, what)
    try:
        result = denoise(crops, values, earlier=before, saved=saved, **knobs)
    except CionError as error:
        raise CionError(f"{what}, {path}: {error}") from None
    for level in tables.LEVELS:
        say(summary(result.audit[level] | {"truth": None}))
    if result.identities.empty:
        raise CionError(
            f"{what}: nothing is left of {len(crops)} crops; raise --radius, lower --min-crops, or look at {path}"
        )
    say(f"denoise: in {out}: {', '.join(write(out, source, result))}")
    saved.unlink(missing_ok=True)
    return result


def read(what: Path) -> Source:
    """The crops of a table, MOT text or a folder of images; CionError where it is none of them or holds no crops."""
    if not what.exists():
        raise CionError(f"{what}: no such file or folder; {VALID}")
    set_aside = pd.DataFrame({"reason": []})
    if what.suffix in (".parquet", ".csv"):
        crops, form = read_table(what), "table"
    elif what.suffix == ".txt" or (what.is_dir() and not has_images(what)):
        (crops, set_aside), form = formats.read_mot(what), "mot"
    elif what.is_dir():
        crops, form = formats.read_folders(what), "images"
        if numbered_apart(crops):
            say(
                f"denoise: {what}: in every video all tracklets begin with the same frame, as if all were seen "
                "together. If frames are counted anew in each tracklet, use --no-cannot-link"
            )
    else:
        raise CionError(f"{what}: {VALID}")
    for reason, lines in set_aside.groupby("reason"):
        say(f"denoise: {what}: {len(lines)} lines are no crops: {reason}")
    if crops.empty:
        raise CionError(f"{what}: no crops in it")
    rows = crops.crop.to_numpy() if form == "mot" else np.arange(len(crops))
    return Source(crops, rows, len(crops) + len(set_aside), form)


def has_images(folder: Path) -> bool:
    """Whether a folder is one of images of tracklets: it holds images, which are not the frames of MOT sequences."""
    names = formats.files(folder)
    sequences = any(f"/{name}".endswith(("/gt/gt.txt", "/det/det.txt")) for name in names)
    return not sequences and any(name.lower().endswith(formats.IMAGES) for name in names)


def numbered_apart(crops: pd.DataFrame) -> bool:
    """Whether frames look counted anew in each tracklet: wherever several share a video, all begin with one frame."""
    first = crops.groupby(["video", "tracklet"]).frame.min().groupby("video").agg(["size", "nunique"])
    several = first[first["size"] > 1]
    return len(several) > 0 and bool((several["nunique"] == 1).all())


def read_table(path: Path) -> pd.DataFrame:
    """A crops table, checked; CionError names column and rows."""
    if path.suffix == ".parquet":
        crops = tables.read(tables.Table, path)
    else:
        try:
            crops = pd.read_csv(path, dtype={"video": str, "path": str}, keep_default_na=False)
        except (ValueError, pd.errors.ParserError) as error:  # ValueError: no columns at all, or not UTF-8
            raise CionError(f"{path}: not a CSV table ({error})") from None
    for name in WHOLE:  # coercion would cut 1.5 down to 1
        if name in crops and pd.api.types.is_float_dtype(crops[name]):
            rows = np.flatnonzero(crops[name] % 1 != 0)
            if len(rows):
                raise CionError(
                    f"{path}: column {name}: must be whole numbers, rows {rows[:5].tolist()}, "
                    f"found {crops[name].iloc[rows[:5]].tolist()}"
                )
    return tables.validate(Seen, crops, str(path))


def embedded(source: Source, what: Path, model: Path, out: Path) -> Path:
    """Embed a folder's images with a model folder; the written float16 .npy [N, D], a row per crop."""
    if source.form != "images":
        raise CionError(f"--model {model}: {what} holds no images to embed; give --features FILE.npy")
    embedder = load_embedder(model, batch=BATCH)
    names = source.crops.path.to_numpy(object)
    path = out / "features.npy"
    with work.atomic(path) as temporary:
        shape = (len(names), embedder.dim)
        features = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
        for start, part in batches(embedder, lambda row: read_image(what / names[row]), len(names), BATCH, "embed"):
            features[start : start + len(part)] = part
        features.flush()
    return path


def load_features(path: Path, source: Source, what: Path) -> np.ndarray:
    """The features of the crops, [N, D], row i of the table; a memory map unless lines were set aside."""
    try:
        features = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise CionError(f"{path}: no such file; --features is a .npy of shape [N, D]") from None
    except (ValueError, EOFError, OSError) as error:
        raise CionError(f"{path}: not a .npy file of numbers ({error})") from None
    if not isinstance(features, np.ndarray) or features.ndim != 2 or features.dtype.kind not in "fiu":
        found = f"{features.dtype} {features.shape}" if isinstance(features, np.ndarray) else "an archive"
        raise CionError(f"{path}: found {found}, must be numbers of shape [N, D]")
    if len(features) != source.total:
        unit = {"table": "rows", "mot": "lines", "images": "images"}[source.form]
        raise CionError(f"{path}: {len(features)} features, but {what} has {source.total} {unit}, each with its own")
    return features if len(source.rows) == source.total else features[source.rows]


def write(out: Path, source: Source, result: Denoised) -> list[str]:
    """Write the result; return what to say of each file."""
    identities, crops = result.identities, source.crops
    state.forget(out)
    tables.write(tables.Identities, identities, out / "identities.parquet")
    tables.write(tables.Ledger, result.ledger, out / "ledger.parquet")
    work.write_json(out / "audit.json", {level: result.audit[level] | {"truth": None} for level in tables.LEVELS})
    state.write_result(result, out)
    written = [f"identities.parquet ({len(identities)} crops)", "ledger.parquet", "audit.json"]
    if "path" in crops:
        formats.write_annotations(out / "annotations.json", crops[["crop", "path"]].merge(identities, on="crop"))
        written.append("annotations.json (CION-AL)")
    if source.form == "mot":
        written.append(f"mot/ ({len(formats.write_mot(out / 'mot', crops, identities))} videos)")
    return written
