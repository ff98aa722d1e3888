"""Where a video is cut: the shots that it is made of, found while its frames go by.

Two things make a cut, and PySceneDetect measures both:

1. *The picture changes all at once.* Its adaptive detector compares how much a look differs from
   the one before with how much its neighbours do. A cut stands out. A pan does not, for there all
   looks differ alike.
2. *The view is another one, and stays so.* Its perceptual hash tells views apart, and does not see
   how bright they are. A flash, a lamp that is switched, or somebody who walks past close to the
   camera changes the picture, but after a moment the view from before is back: no cut.

Looks that show nothing, such as the black of a fade, are passed over: the last view before them is
held against the first one after them. Not found are dissolves, in which one view becomes the next
over many looks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scenedetect import AdaptiveDetector, FrameTimecode, HashDetector

SIZE = (256, 144)  # pixels, width and height: looks are judged at this size, whatever theirs is
NEIGHBOURS = 2  # looks before and after a look whose changes its own is compared with
STANDS_OUT = 3.0  # a cut changes the picture this many times as much as its neighbours do
LEAST_CHANGE = 15.0  # levels of hue, saturation and brightness that a cut changes, on average
HASH_SIZE = 16  # bits along each side of the hash
HASH_FACTOR = 2  # the hash is taken of a picture of so many times its size
SAME_VIEW = 0.3  # share of the bits up to which two hashes are of one view
BLANK = 5.0  # grey levels of contrast (standard deviation) below which a look shows nothing
PATIENCE = 1.0  # seconds that a view has to come back in
# Looks, at least, that it has to come back in: at a low rate PATIENCE is one look or two, and
# somebody near the camera fills several.
PATIENT_LOOKS = 5


@dataclass(frozen=True)
class Look:
    """A frame that is looked at.

    Attributes:
        index: number of the frame in its video, from 0.
        time: seconds of the video's clock.
        image: BGR uint8 [H, W, 3].
        shot: number of its shot in the video, from 0.
    """

    index: int
    time: float
    image: np.ndarray
    shot: int = 0


@dataclass(frozen=True)
class Seen:
    """A look that shows something.

    Attributes:
        place: its number among the looks that show something, from 0.
        time: seconds of the video's clock.
        view: the hash of its view, bool [HASH_SIZE, HASH_SIZE].
    """

    place: int
    time: float
    view: np.ndarray


@dataclass(frozen=True)
class Doubt:
    """A look that may begin a shot, unless the view before it comes back.

    Attributes:
        first: the look.
        view_before: the hash of the view before it.
    """

    first: Seen
    view_before: np.ndarray


class ShotFinder:
    """Numbers the shots of one video.

    A look is handed on as soon as its shot is decided: mostly NEIGHBOURS looks later, and where a
    cut is in doubt when the view has had its time to come back. So no more than about a second of
    looks is held.

    Example:
        Ten looks a second; views A and B, blank looks ".", and somebody close to the camera, "C"::

            looks   A A A A C C A A . . B B B B ... (B stays)
            shot    0 0 0 0 0 0 0 0 1 1 1 1 1 1

        The first C changes all at once, so it is in doubt. Two looks later A is back: no cut. After
        the blanks B is held against A, the last view before them, and is in doubt. For a second A
        does not come back, so B begins shot 1, and the blanks go with it.

    Attributes:
        shots: how many shots there are so far.
    """

    def __init__(self) -> None:
        self.shots = 1
        self._detector = AdaptiveDetector(
            adaptive_threshold=STANDS_OUT,
            min_scene_len=1,
            window_width=NEIGHBOURS,
            min_content_val=LEAST_CHANGE,
        )
        self._asked = 0  # pictures that the detector was shown
        # Looks whose shot is not decided, each with its place. A blank look has the place of the
        # next one that shows something.
        self._held: deque[tuple[int, Look]] = deque()
        self._recent: deque[Seen] = deque(maxlen=2 * NEIGHBOURS + 1)
        self._places = 0  # how many looks so far show something; the place of the next that does
        self._after_blank = False
        self._doubts: list[Doubt] = []
        # Places of the looks that begin a shot, as long as these are held.
        self._cuts: deque[int] = deque()
        self._no_cut_until = 0  # up to this place the view is known to have come back

    def number(self, looks: Iterable[Look]) -> Iterator[Look]:
        """Yield the looks, in their order, each with the number of its shot.

        Args:
            looks: of the whole video, in the order of time.
        """
        last_picture = None
        for look in looks:
            self._held.append((self._places, look))
            picture = reduce_image(look.image)
            if is_blank(picture):
                self._after_blank = True
                continue
            if last_picture is None:
                # In place of the neighbours that the first look lacks.
                self._ask(picture, times=NEIGHBOURS)
            last_picture = picture
            self._judge(picture, look.time)
            yield from self._hand_on(self._first_undecided())
        if last_picture is not None:
            # In place of the neighbours that the last look lacks.
            self._ask(last_picture, times=NEIGHBOURS)
        self._cuts.extend(doubt.first.place for doubt in self._doubts)
        yield from self._hand_on(self._places + 1)

    def _judge(self, picture: np.ndarray, time: float) -> None:
        """Take one more look that shows something, and decide what it decides."""
        now = Seen(self._places, time, view_hash(picture))
        self._places += 1
        self._recent.append(now)
        # 1. The view from before a doubt is back: neither that change was a cut, nor any since.
        back = [doubt for doubt in self._doubts if is_same_view(doubt.view_before, now.view)]
        if back:
            self._doubts = self._doubts[: self._doubts.index(back[0])]
            self._no_cut_until = now.place
        # 2. What changes this look may be a cut.
        if self._after_blank:
            self._doubt(now.place)
            self._after_blank = False
        self._ask(picture)
        # 3. Where the view has had its time to come back, and has not, there is a cut.
        while self._doubts and is_over(self._doubts[0], now):
            self._cuts.append(self._doubts.pop(0).first.place)

    def _ask(self, picture: np.ndarray, times: int = 1) -> None:
        """Show the detector a picture.

        It answers for the one that it saw NEIGHBOURS pictures before.
        """
        for _ in range(times):
            stands_out = self._detector.process_frame(FrameTimecode(self._asked, fps=1.0), picture)
            self._asked += 1
            for answer in stands_out:
                # NEIGHBOURS pictures were shown before the first look.
                self._doubt(answer.frame_num - NEIGHBOURS)

    def _doubt(self, place: int) -> None:
        """Note that something changes at `place`, unless the view before has come back since."""
        is_doubted = any(doubt.first.place == place for doubt in self._doubts)
        if is_doubted or place <= self._no_cut_until:
            return
        row = place - self._recent[0].place
        view_before = self._recent[row - 1].view
        since = list(self._recent)[row:]
        back = [seen for seen in since if is_same_view(view_before, seen.view)]
        if back:
            self._no_cut_until = back[-1].place
        else:
            self._doubts.append(Doubt(since[0], view_before))
            self._doubts.sort(key=lambda doubt: doubt.first.place)

    def _first_undecided(self) -> int:
        """The first place that may still turn out to begin a shot."""
        not_answered_for = self._places - NEIGHBOURS
        return min([not_answered_for, *(doubt.first.place for doubt in self._doubts)])

    def _hand_on(self, end: int) -> Iterator[Look]:
        """Yield the held looks before the place `end`."""
        while self._held and self._held[0][0] < end:
            place, look = self._held.popleft()
            while self._cuts and self._cuts[0] <= place:
                self._cuts.popleft()
                self.shots += 1
            yield replace(look, shot=self.shots - 1)


def reduce_image(image: np.ndarray) -> np.ndarray:
    """Reduce an image to the size at which looks are judged; streams may change theirs.

    Args:
        image: BGR uint8 [H, W, 3].

    Returns:
        BGR uint8 [144, 256, 3].
    """
    return cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)


def is_blank(picture: np.ndarray) -> bool:
    """Whether a picture, uint8 [h, w, 3], shows nothing: it is black, white, or of one colour."""
    return float(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).std()) < BLANK


def view_hash(picture: np.ndarray) -> np.ndarray:
    """The perceptual hash of a picture.

    Args:
        picture: BGR uint8 [h, w, 3].

    Returns:
        bool [HASH_SIZE, HASH_SIZE].
    """
    return HashDetector.hash_frame(picture, HASH_SIZE, HASH_FACTOR)


def is_same_view(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two hashes are of one view, seen by a camera that stands still."""
    return float((one != other).mean()) <= SAME_VIEW


def is_over(doubt: Doubt, now: Seen) -> bool:
    """Whether the view before the doubt has had its time to come back."""
    seconds = now.time - doubt.first.time
    looks = now.place - doubt.first.place
    return seconds >= PATIENCE and looks >= PATIENT_LOOKS
