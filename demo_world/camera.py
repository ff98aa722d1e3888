"""What a camera does to the world: where it stands, its light, and its sensor."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from demo_world.settings import Frame, Look

NEAR, FAR = 5.0, 10.5  # metres from the camera between which people walk


@dataclass(frozen=True)
class View:
    """A level pinhole camera over flat ground. Ground points are (x right, z ahead) in metres."""

    width: int
    height: int
    focal: float  # pixels
    horizon: float  # row
    above: float  # metres above the ground

    @classmethod
    def sample(cls, frame: Frame, rng: np.random.Generator) -> View:
        above = rng.uniform(2.3, 3.4)
        nearest = rng.uniform(0.9, 0.99) * frame.height  # row of the feet of whoever walks at NEAR
        focal = rng.uniform(1.38, 1.62) * frame.height
        return cls(frame.width, frame.height, focal, nearest - focal * above / NEAR, above)

    def scale(self, z: float) -> float:
        """Pixels per metre at a distance."""
        return self.focal / z

    def pixel(self, x: float, z: float, up: float = 0.0) -> tuple[float, float]:
        """Column and row of a point `up` metres above the ground."""
        scale = self.focal / z
        return self.width / 2 + x * scale, self.horizon + (self.above - up) * scale

    def side(self, z: float) -> float:
        """Metres from the middle to the frame's edge at a distance."""
        return self.width / 2 * z / self.focal


@dataclass(frozen=True)
class Light:
    """White balance, gain, gamma, saturation and contrast: a pure function of a pixel's colour."""

    balance: tuple[float, float, float]
    gain: float
    gamma: float
    saturation: float
    contrast: float
    haze: float

    @classmethod
    def sample(cls, look: Look, rng: np.random.Generator) -> Light:
        angle, strength = rng.uniform(0, 2 * np.pi), look.cast * rng.uniform(0.5, 1.5)
        warm, tint = strength * np.cos(angle), strength * np.sin(angle) / 2
        return cls(
            balance=tuple(float(g) for g in np.exp([warm, tint, -warm])),
            gain=float(rng.uniform(*look.gain)),
            gamma=float(rng.uniform(*look.gamma)),
            saturation=float(rng.uniform(*look.saturation)),
            contrast=float(rng.uniform(*look.contrast)),
            haze=float(rng.uniform(0.2, 0.8)),
        )

    def tone(self, rgb: np.ndarray) -> np.ndarray:
        """uint8 RGB [H, W, 3] as it looks in this light."""
        s, weights = self.saturation, np.array([0.3, 0.59, 0.11])
        rgb = cv2.transform(rgb, s * np.eye(3) + (1 - s) * np.tile(weights, (3, 1)))
        values = np.linspace(0, 1, 256)[:, None] * self.gain * np.array(self.balance)
        values = np.minimum(values, 1) ** self.gamma
        values = self.haze * (1 - self.contrast) + self.contrast * values
        return cv2.LUT(rgb, (values * 255).round().astype(np.uint8)[None])


@dataclass(frozen=True)
class Drift:
    """Automatic exposure and white balance, which never rest: gains that swing slowly around 1."""

    size: float  # of the log of the gain; of red's and blue's around it
    periods: np.ndarray  # frames, of exposure, red and blue
    phases: np.ndarray

    @classmethod
    def sample(cls, look: Look, fps: float, rng: np.random.Generator) -> Drift:
        return cls(look.drift, rng.uniform(4, 15, 3) * fps, rng.uniform(0, 2 * np.pi, 3))

    def tone(self, rgb: np.ndarray, frame: int) -> np.ndarray:
        """uint8 RGB [H, W, 3] as it looks at `frame`."""
        exposure, red, blue = self.size * np.sin(2 * np.pi * frame / self.periods + self.phases)
        gains = np.exp([exposure + red, exposure, exposure + blue])
        return cv2.LUT(
            rgb, np.minimum(np.arange(256)[:, None] * gains, 255).round().astype(np.uint8)[None]
        )


@dataclass(frozen=True)
class Sensor:
    """Blur, noise and compression: what happens to a whole frame."""

    blur: float  # pixels
    noise: float  # grey levels
    quality: int  # of the JPEG compression

    @classmethod
    def sample(cls, look: Look, rng: np.random.Generator) -> Sensor:
        low, high = look.quality
        return cls(
            float(rng.uniform(*look.blur)),
            float(rng.uniform(*look.noise)),
            int(rng.integers(low, high + 1)),
        )

    def grain(self, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """A field of noise, int16 and larger than the frame.

        Frames take their noise from it at random offsets.
        """
        grain = rng.standard_normal((height + 64, width + 64, 3), np.float32) * self.noise
        # The blur halves it.
        return cv2.GaussianBlur(grain, (0, 0), 0.6).round().astype(np.int16) * 2

    def see(self, rgb: np.ndarray, grain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A frame, uint8 RGB [H, W, 3], as this sensor records it: BGR, as OpenCV writes it."""
        height, width = rgb.shape[:2]
        y, x = rng.integers(0, grain.shape[0] - height), rng.integers(0, grain.shape[1] - width)
        bgr = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), (0, 0), self.blur)
        bgr = cv2.add(bgr, grain[y : y + height, x : x + width], dtype=cv2.CV_8U)
        _, packed = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        return cv2.imdecode(packed, cv2.IMREAD_COLOR)
