"""Videos with everybody's box and number: one colour a person, in every camera.

Users' videos are decoded in a worker process (`crew`): one that is damaged costs its own drawing
alone.
"""

from __future__ import annotations

import colorsys
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import supervision as sv

from cion_core import crew, work
from cion_core.errors import CionError
from cion_core.extract import faces
from cion_core.identify.boxes import PersonTrack
from cion_core.identify.people import choose_hue
from cion_core.ingest.problems import NO_FRAME, BadVideo
from cion_core.ingest.video import Frames

# Encoders in the order in which they are tried: H.264 as browsers play it, else MPEG-4.
ENCODERS = ("libx264", "libopenh264", "h264_nvenc", "mpeg4")
# Times are written in thousandths of a second.
CLOCK = Fraction(1, 1000)
BITS_A_PIXEL = 0.15
# Pixels that a label takes above its box.
LABEL_HEIGHT = 22


@dataclass(frozen=True)
class Drawing:
    """A video that is to be drawn.

    Attributes:
        video: its name.
        path: its file, or the folder of a sequence.
        fps: frames a second, of its probe.
        tracks: who is where.
        max_gap: seconds; between crops of a tracklet that are farther apart no box is drawn.
        out: the file to write, .mp4.
        mark: an empty file that says that `out` has been drawn like this.
    """

    video: str
    path: Path
    fps: float
    tracks: Sequence[PersonTrack]
    max_gap: float
    out: Path
    mark: Path


def draw_all(
    drawings: Sequence[Drawing], blur_faces: bool, report: Callable[[int], None]
) -> Iterator[tuple[Drawing, str | None]]:
    """Draw videos, one after another, in a worker process.

    Args:
        drawings: the videos.
        blur_faces: blur faces in them.
        report: is told of the frames that are done.

    Yields:
        Each drawing with None, or with the reason why its video could not be drawn.

    Raises:
        CionError: no encoder of this machine can write a video, or the disk is full.
    """
    make_blur = partial(faces.FaceBlur, os.cpu_count() or 1) if blur_faces else None
    for outcome in crew.work(drawings, _draw_one, processes=1, setup=make_blur, report=report):
        drawing = outcome.job
        reason = outcome.failure or outcome.result
        if reason is None:
            drawing.mark.touch()
        else:
            # An earlier call's file would show that call's numbers.
            drawing.out.unlink(missing_ok=True)
        yield drawing, reason


def _draw_one(drawing: Drawing, conceal: faces.FaceBlur | None, report: crew.Report) -> str | None:
    """The job of a worker; returns why the video cannot be drawn, None where it is."""
    try:
        draw(drawing, report, conceal)
    except BadVideo as reason:
        return str(reason)
    return None


def draw(
    drawing: Drawing,
    report: Callable[[int], None],
    conceal: Callable[[np.ndarray], np.ndarray] | None = None,
) -> None:
    """Write a video again, with a box and a number for everybody in it, at the times that it had.

    Args:
        drawing: the video, who is where in it, and the file to write.
        report: is told of each frame that is done, and of 0 frames as a sign of life.
        conceal: takes out of a frame (BGR uint8 [H, W, 3]) what must not be stored, such as faces.
            None: nothing.

    Raises:
        BadVideo: no frame of it can be decoded.
        CionError: no encoder of this machine can write the video.
    """
    tracks = drawing.tracks
    annotate = Annotator(max((track.person for track in tracks), default=0))
    frames = Frames(drawing.path, drawing.fps, rate=float("inf"), report=report)
    with work.atomic(drawing.out) as temporary:
        writer = None
        try:
            for _, time, image in frames:
                if conceal is not None:
                    image = conceal(image)
                if writer is None:
                    writer = Writer(temporary, image.shape[:2], drawing.fps)
                boxes = [(track.person, track.box_at(time, drawing.max_gap)) for track in tracks]
                seen = [(person, box) for person, box in boxes if box is not None]
                writer.write(annotate(image, seen), time)
                report(1)
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            raise BadVideo(NO_FRAME)


class Annotator:
    """Draws boxes and numbers into frames; a person has the same colour everywhere.

    Args:
        highest: the highest number of a person there is.
    """

    def __init__(self, highest: int) -> None:
        colours = [_choose_colour(person) for person in range(highest + 1)]
        palette = sv.ColorPalette(colours)
        # A person's number goes to supervision as a class, by which it finds the colour.
        by_person = sv.ColorLookup.CLASS
        self._boxes = sv.BoxAnnotator(palette, thickness=2, color_lookup=by_person)
        self._labels = sv.LabelAnnotator(
            palette,
            text_color=sv.Color.BLACK,
            text_scale=0.5,
            text_padding=4,
            color_lookup=by_person,
        )

    def __call__(self, image: np.ndarray, seen: list[tuple[int, np.ndarray]]) -> np.ndarray:
        """Draw boxes and numbers.

        Args:
            image: BGR uint8 [H, W, 3].
            seen: the number and the box, float [4], of everybody who is in it.

        Returns:
            A copy of `image` with them; `image` itself where nobody is seen.
        """
        if not seen:
            return image
        numbers = np.array([person for person, _ in seen])
        boxes = np.array([box for _, box in seen], np.float32)
        people = sv.Detections(xyxy=boxes, class_id=numbers)
        drawn = self._boxes.annotate(image.copy(), people)
        # A label stands on its box; where the box begins at the frame's edge it stands inside.
        boxes[:, 1] = np.maximum(boxes[:, 1], LABEL_HEIGHT)
        labelled = sv.Detections(xyxy=boxes, class_id=numbers)
        return self._labels.annotate(drawn, labelled, labels=[str(number) for number in numbers])


def _choose_colour(person: int) -> sv.Color:
    """A person's colour, by their number."""
    red, green, blue = colorsys.hsv_to_rgb(choose_hue(person), 0.65, 0.95)
    return sv.Color(round(255 * red), round(255 * green), round(255 * blue))


class Writer:
    """Writes frames with times of their own into an .mp4.

    Args:
        path: the file.
        size: height, width of all frames.
        fps: about how many a second; the times that are written are exact.

    Raises:
        CionError: no encoder of this machine can write such frames.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        # Encoders want even sides: an odd one loses a row or column.
        self._height, self._width = (side - side % 2 for side in size)
        self._container = av.open(str(path), "w", format="mp4")
        self._stream = self._open_stream(path, fps)
        self._last = -1

    def _open_stream(self, path: Path, fps: float) -> av.VideoStream:
        """The first encoder that takes such frames."""
        refused = []
        for name in ENCODERS:
            try:
                stream = self._container.add_stream(name, rate=max(1, round(fps)))
                stream.width, stream.height = self._width, self._height
                stream.pix_fmt = "yuv420p"
                stream.time_base = stream.codec_context.time_base = CLOCK
                stream.bit_rate = int(BITS_A_PIXEL * self._width * self._height * fps)
                stream.codec_context.open()
            except (ValueError, LookupError, av.FFmpegError) as error:
                refused.append(f"{name}: {error}")
                self._container.close()
                self._container = av.open(str(path), "w", format="mp4")
                continue
            return stream
        self._container.close()
        raise CionError(
            f"{path}: no video encoder works here ({'; '.join(refused)}); leave out --draw"
        )

    def write(self, image: np.ndarray, time: float) -> None:
        """Append a frame.

        Args:
            image: BGR uint8 [H, W, 3].
            time: from when on it is shown, in seconds.
        """
        even = np.ascontiguousarray(image[: self._height, : self._width])
        frame = av.VideoFrame.from_ndarray(even, format="bgr24")
        # Two frames of one instant would stop the encoder.
        self._last = max(self._last + 1, round(time / CLOCK))
        frame.pts, frame.time_base = self._last, CLOCK
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder still holds, and end the file."""
        self._container.mux(self._stream.encode())
        self._container.close()
