"""Films of one or two painted places, with what cuts a film and what only seems to.

There is a look every tenth of a second.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

RATE, SECONDS = 10, 6
HEIGHT, WIDTH = 108, 192
MIDDLE = SECONDS / 2


def place(seed: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A place with coarse and fine structure, BGR float32."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.float32) + rng.uniform(70, 170, 3)
    for cells, contrast in ((4, 60), (12, 35), (48, 15)):
        coarse = rng.normal(0, contrast, (max(2, cells * height // width), cells, 3)).astype(
            np.float32
        )
        image += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(8):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        size = rng.integers(8, WIDTH // 4, 2)
        cv2.rectangle(
            image, (x, y), (x + int(size[0]), y + int(size[1])), rng.uniform(0, 255, 3).tolist(), -1
        )
    return image.clip(0, 255)


def with_walkers(image: np.ndarray, time: float, seed: int) -> np.ndarray:
    """The place with three people who walk through it."""
    rng, image = np.random.default_rng(seed + 99), image.copy()
    for _ in range(3):
        x = (rng.uniform(0, WIDTH) + rng.uniform(-25, 25) * time) % WIDTH
        cv2.ellipse(image, (int(x), 65), (6, 20), 0, 0, 360, rng.uniform(0, 255, 3).tolist(), -1)
    return image


def film(paint: Callable[[float, int], np.ndarray], seed: int) -> list[np.ndarray]:
    """All looks of a film, BGR uint8, with a camera's noise; `paint(time, seed)` paints one."""
    rng = np.random.default_rng(seed)
    painted = (paint(number / RATE, seed) for number in range(RATE * SECONDS))
    return [
        (image + rng.normal(0, 3, image.shape)).clip(0, 255).astype(np.uint8) for image in painted
    ]


def here(time: float, seed: int) -> np.ndarray:
    """One place, all the time."""
    return with_walkers(place(2 * seed), time, seed)


def there(time: float, seed: int) -> np.ndarray:
    """Another place, all the time."""
    return with_walkers(place(2 * seed + 1), time, seed)


def hard(time: float, seed: int) -> np.ndarray:
    """One place, then another."""
    return here(time, seed) if time < MIDDLE else there(time, seed)


def closer(time: float, seed: int) -> np.ndarray:
    """One place, then a part of it from nearby, as edited films have it."""
    whole = place(2 * seed)
    part = cv2.resize(whole[HEIGHT // 4 : -HEIGHT // 4, WIDTH // 4 : -WIDTH // 4], (WIDTH, HEIGHT))
    return with_walkers(whole if time < MIDDLE else part, time, seed)


def dipped(colour: float, seconds: float, other: bool) -> Callable[[float, int], np.ndarray]:
    """A fade to one colour and back, to another place or to the same one; `seconds` each way."""

    def paint(time: float, seed: int) -> np.ndarray:
        shown = there(time, seed) if other and time >= MIDDLE else here(time, seed)
        share = min(1.0, abs(time - MIDDLE) / seconds)
        return share * shown + (1 - share) * colour

    return paint


def lit(
    begin: float, end: float, gain: float, lift: float = 0.0
) -> Callable[[float, int], np.ndarray]:
    """Between two times the picture is brighter or darker."""

    def paint(time: float, seed: int) -> np.ndarray:
        shown = here(time, seed)
        return shown * gain + lift if begin <= time < end else shown

    return paint


def strobe(time: float, seed: int) -> np.ndarray:
    """Every other look of a second is bright."""
    flashes = 3 <= time < 4 and round(time * RATE) % 2
    return here(time, seed) * 0.3 + 150 if flashes else here(time, seed)


def covered(time: float, seed: int) -> np.ndarray:
    """A hand lies on the lens for a second and a half."""
    return np.full((HEIGHT, WIDTH, 3), 25.0) if 3 <= time < 4.5 else here(time, seed)


def pan(widths: float) -> Callable[[float, int], np.ndarray]:
    """The camera turns by so many widths of the picture a second."""

    def paint(time: float, seed: int) -> np.ndarray:
        panorama = place(2 * seed, int(WIDTH * (1 + widths * SECONDS)) + 2)
        left = int(WIDTH * widths * time)
        return with_walkers(np.ascontiguousarray(panorama[:, left : left + WIDTH]), time, seed)

    return paint


def zoom(time: float, seed: int) -> np.ndarray:
    """The lens goes closer all the time."""
    whole, share = place(2 * seed), 1 / (1 + time / 2)
    half_height, half_width = int(HEIGHT * share / 2), int(WIDTH * share / 2)
    rows = slice(HEIGHT // 2 - half_height, HEIGHT // 2 + half_height)
    columns = slice(WIDTH // 2 - half_width, WIDTH // 2 + half_width)
    return cv2.resize(whole[rows, columns], (WIDTH, HEIGHT))


def passer_by(seconds: float) -> Callable[[float, int], np.ndarray]:
    """Somebody close to the camera, two thirds of the picture wide, walks past in `seconds`."""
    wide = WIDTH * 2 // 3

    def paint(time: float, seed: int) -> np.ndarray:
        shown, coat = here(time, seed), place(seed + 500, wide)
        left = int(-wide + (WIDTH + wide) * (time - 2.5) / seconds)
        first, last = max(0, left), min(WIDTH, left + wide)
        if first < last:
            shown[:, first:last] = coat[:, first - left : last - left]
        return shown

    return paint


# Each film is cut at MIDDLE.
CUT = {
    "a hard cut": hard,
    "a closer view": closer,
    "a fade through black": dipped(0, 0.7, other=True),
    "a quick fade through black": dipped(0, 0.3, other=True),
    "a fade through white": dipped(255, 0.7, other=True),
}

WHOLE = {
    "a fixed camera": here,
    "a flash": lit(3.0, 3.1, 0.2, 200),
    "a longer flash": lit(3.0, 3.3, 1.0, 120),
    "a strobe light": strobe,
    "a lamp that goes out": lit(3.0, SECONDS, 0.35),
    "a hand on the lens": covered,
    "a fade to black and back": dipped(0, 0.7, other=False),
    "a slow pan": pan(0.2),
    "a pan": pan(0.5),
    "a fast pan": pan(1.0),
    "a zoom": zoom,
    "somebody close who walks past": passer_by(1.0),
    "somebody close who walks past slowly": passer_by(2.0),
}
