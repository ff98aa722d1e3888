"""From videos to who is who: ingest, extract, embed, denoise, one after another, in one folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cion_core import config, listing, progress, tables, work
from cion_core.config import Section
from cion_core.crops import CropStore
from cion_core.denoise import denoise
from cion_core.denoise.result import Denoised
from cion_core.denoise.settings import Denoise
from cion_core.denoise.stage import read_table, summary
from cion_core.embed import stage as embedding
from cion_core.embed.settings import Embed
from cion_core.errors import CionError
from cion_core.external import mot
from cion_core.extract import faces
from cion_core.extract import stage as extraction
from cion_core.extract.detectors import DETECTORS
from cion_core.extract.settings import Extract
from cion_core.identify import page, people, sources
from cion_core.identify.boxes import collect_tracks
from cion_core.identify.drawing import Drawing, draw_all
from cion_core.ingest import stage as ingestion
from cion_core.ingest.settings import Ingest
from cion_core.runtime import Runtime

HERE = Path(__file__).parent
DEFAULTS = HERE / "defaults.yaml"
# The model that ships: it needs no weights.
STRIPES = HERE / "models/stripes"
NOTE_ON_STRIPES = (
    "The model is stripes, which goes by the colours of clothes alone: it tells people apart who "
    "are dressed differently, and mixes up those who are not. With --model, a ReID model does "
    "much better."
)
NOTE_ON_MODEL = "Features by the model {model}."
# Where the links to the videos are laid out, below the output folder.
SOURCES = "sources"
# By step, the hash of the settings, code and files that it was made of.
DONE = Path("steps.json")
# The settings under which detectors take a file.
FILE_KEYS = ("weights", "model")


class Defaults(Section):
    """The sections of params.yaml that `identify` goes by."""

    ingest: Ingest
    extract: Extract
    embed: Embed
    denoise: Denoise


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        videos: files and folders.
        out: the folder to write.
        model: a model that embeds crops; None: stripes, which ships.
        detector: what finds people; None: as in defaults.yaml.
        detector_file: its weights, where it needs a file.
        draw: write the videos with boxes and numbers.
        blur_faces: blur faces in the crops and in these videos.
    """

    videos: Sequence[Path]
    out: Path
    model: Path | None = None
    detector: str | None = None
    detector_file: Path | None = None
    draw: bool = False
    blur_faces: bool = False


def run(request: Request, runtime: Runtime = Runtime()) -> str:
    """Find out who is who in some videos, and write the folder `request.out`.

    identities.parquet and identities.csv: every crop with its video, time, box and person;
    mot/VIDEO.txt: the same as MOT-challenge text; index.html: everybody's best pictures;
    tracklets/: the crops; with `draw`, drawn/VIDEO.mp4. A call that was killed goes on when it is
    made again.

    Args:
        request: what is asked for.
        runtime: the device and the batch.

    Returns:
        One line on what was found.

    Raises:
        CionError: naming the file or option and what is wrong with it.
    """
    # 1. What is wrong with the request is said before anything is done.
    videos = [path.absolute() for path in request.videos]
    model = request.model.absolute() if request.model else STRIPES
    settings = make_settings(request)
    model_files = _files(model)
    DETECTORS.named(settings.extract.detector).check(settings.extract)
    if request.blur_faces:
        faces.model_file()
    model_note = NOTE_ON_MODEL.format(model=model.name) if request.model else NOTE_ON_STRIPES
    request.out.mkdir(parents=True, exist_ok=True)
    with _working_in(request.out), work.exclusive("identify"):
        # 2. Videos to crops, and crops to features.
        root = Path()
        progress.say(f"identify: {model_note}")
        _ingest(videos, settings.ingest, root, runtime)
        steps = Steps(root)
        own_model = settings.embed.model_copy(update={"model": model.name})
        steps.run(
            "extract",
            (settings.extract.model_dump(), root / "raw/videos.parquet"),
            root / "tracklets/crops.parquet",
            lambda: extraction.run(settings.extract, runtime, root),
        )
        steps.run(
            "embed",
            (settings.embed.model_dump(), *model_files, root / "tracklets/crops.parquet"),
            root / "embeddings/features.npy",
            lambda: embedding.run(own_model, runtime, root, model.parent),
        )

        # 3. Who is who.
        crops, features = read_table(root)
        result = denoise(crops, features, settings.denoise, saved=work.ROOT / "linking.npz")
        for level in tables.LEVELS:
            progress.say(summary(result.audit[level]))

        # 4. The tables, the page and the videos.
        found = _write(root, crops, result, model_note)
        if request.draw:
            _draw(root, found, settings.extract)
        (work.ROOT / "linking.npz").unlink(missing_ok=True)
    videos_of_person = found.groupby("identity").video.nunique()
    across = int((videos_of_person > 1).sum())
    return (
        f"{len(videos_of_person)} people in {crops.video.nunique()} videos, {across} of them "
        f"in more than one; look at {request.out / 'index.html'}"
    )


def make_settings(request: Request) -> Defaults:
    """Make the settings of a call: defaults.yaml, with what the user asked for.

    Args:
        request: what is asked for.

    Returns:
        The sections of all rooms that are called.

    Raises:
        CionError: an option is wrong, or the detector takes no file.
    """
    values: dict[str, Any] = config.load_yaml(DEFAULTS)
    extract = values["extract"]
    detector = request.detector or extract["detector"]
    extract["detector"] = detector
    extract["blur_faces"] = request.blur_faces
    if file := request.detector_file:
        known = DETECTORS.named(detector).Settings.model_fields
        file_key = next((key for key in FILE_KEYS if key in known), None)
        if file_key is None:
            raise CionError(f"--weights {file}: the detector {detector} takes no file")
        extract[detector] = {**extract.get(detector, {}), file_key: str(file.absolute())}
    return config.checked(values, Defaults, "options")


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Work inside a folder, so that work in progress (.cion) lies in it, too."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _ingest(videos: list[Path], section: Ingest, root: Path, runtime: Runtime) -> None:
    """Lay out the videos, list them, and probe them."""
    sources.lay_out(videos, root / SOURCES)
    section = section.model_copy(update={"source": SOURCES})
    work.write_json(root / "listing/videos.json", listing.list_videos(SOURCES))
    ingestion.run(section, runtime, root)


def _files(model: Path) -> list[Path]:
    """The files that a model consists of."""
    if model.is_file():
        return [model]
    if not model.is_dir():
        raise CionError(
            f"--model {model}: no such file or folder; see models/README.md for what fits"
        )
    return sorted(path for path in model.rglob("*") if path.is_file())


class Steps:
    """Runs steps; one whose inputs and code are unchanged is skipped.

    Args:
        root: the folder that they write; what was made is remembered in its .cion.
    """

    def __init__(self, root: Path) -> None:
        self._file = root / work.ROOT / DONE
        code = sorted(HERE.parent.rglob("*.py"))
        self._code = work.key(None, *code)

    def run(
        self, name: str, inputs: tuple[Any, ...], output: Path, make: Callable[[], None]
    ) -> None:
        """Run a step, unless it has been made of just these inputs by this code.

        Args:
            name: of the step.
            inputs: its settings (anything JSON can hold), and then the files that it reads.
            output: a file that it writes last.
            make: does it.
        """
        settings, *files = inputs
        key = work.key([settings, self._code], *files)
        done = config.load_yaml(self._file) if self._file.is_file() else {}
        if done.get(name) == key and output.is_file():
            progress.say(f"{name}: done by an earlier run")
            return
        make()
        work.write_json(self._file, {**done, name: key})


def _write(root: Path, crops: pd.DataFrame, result: Denoised, model_note: str) -> pd.DataFrame:
    """Write the tables and the page.

    Returns:
        The crops that are somebody's, with `identity`, the person's number (see `people`).
    """
    labels = result.levels[-1].labels
    if not (labels >= 0).any():
        raise CionError(
            f"nothing is left of {len(crops)} crops; the videos show nobody for long enough"
        )
    # A user sees numbers from 1 on, not denoising's identities.
    numbers = people.number_people(crops, labels)
    described = people.describe_people(crops, numbers, labels, result.levels[-1].links)

    columns = ["crop", "video", "frame", "time_s", "tracklet", "x1", "y1", "x2", "y2", "confidence"]
    numbered = crops[columns].assign(identity=numbers)
    found = numbered[numbers > 0].reset_index(drop=True)
    with work.atomic(root / "identities.parquet") as temporary:
        found.to_parquet(temporary, index=False)
    with work.atomic(root / "identities.csv") as temporary:
        found.to_csv(temporary, index=False)
    mot.write(root / "mot", crops, found[["crop", "identity"]])
    work.write_json(root / "audit.json", result.audit)
    store = CropStore(root / "tracklets/crops", crops)
    page.write(root / "index.html", crops, numbers, described, store, model_note)
    return found


def _draw(root: Path, found: pd.DataFrame, extract: Extract) -> None:
    """Write drawn/VIDEO.mp4 of each video; one that has been drawn like this is left as it is."""
    videos = tables.read(tables.Videos, root / "raw/videos.parquet")
    # Crops of a tracklet are 1/crop_rate apart, and farther where the person was lost for a while.
    max_gap = extract.lost_seconds + 1 / extract.crop_rate
    rows_of_video = found.groupby("video").indices
    nobody = np.empty(0, np.int64)
    left = []
    with progress.bar("draw", "frames", int(videos.frames.sum())) as bar:
        for video in videos.itertuples():
            own = found.iloc[rows_of_video.get(video.video, nobody)]
            suffix = "" if video.video.endswith(".mp4") else ".mp4"
            out = root / "drawn" / f"{video.video}{suffix}"
            inputs = [video.sha256, max_gap, extract.blur_faces, own.to_csv()]
            key = work.key(inputs, HERE / "drawing.py")
            mark = work.folder("drawn", key) / "done"
            if mark.exists() and out.is_file():
                bar.update(video.frames)
                continue
            tracks = collect_tracks(own)
            path = Path(video.path)
            left.append(Drawing(video.video, path, video.fps, tracks, max_gap, out, mark))
        for drawing, reason in draw_all(left, extract.blur_faces, bar.update):
            if reason:
                progress.say(f"identify: {drawing.video} is not drawn: {reason}")
