"""world.yaml, validated, and the seeds that every part of the demo world grows from."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from cion_core.config import Count, Fraction, Positive, Section, Seed, read


def _rising(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError(f"lower end first, found {list(span)}")
    return span


# A uniform draw between the two.
Span = Annotated[tuple[Positive, Positive], AfterValidator(_rising)]
Percent = Annotated[int, Field(ge=1, le=100)]


class Frame(Section):
    width: Annotated[int, Field(ge=160, multiple_of=2)]
    height: Annotated[int, Field(ge=120, multiple_of=2)]
    fps: Positive


class Videos(Section):
    people: Count
    cameras: Count
    count: Count
    seconds: Annotated[float, Field(ge=4)]
    appearances: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=1)]
    come_back: Fraction

    @model_validator(mode="after")
    def _possible(self) -> Videos:
        if self.count < self.cameras:
            raise ValueError(
                f"count {self.count} leaves some of the {self.cameras} cameras without a video"
            )
        if not sum(self.appearances):
            raise ValueError("appearances are all 0")
        return self


class Lights(Section):
    cast: Annotated[float, Field(ge=0, le=1)]
    gain: Span
    gamma: Span


class Look(Lights):
    saturation: Span
    contrast: Annotated[tuple[Fraction, Fraction], AfterValidator(_rising)]
    shadow: Annotated[tuple[Fraction, Fraction], AfterValidator(_rising)]
    drift: Fraction
    blur: Span
    noise: Span
    quality: Annotated[tuple[Percent, Percent], AfterValidator(_rising)]


class Benchmark(Section):
    train_people: Count
    test_people: Count
    cameras: Annotated[int, Field(ge=2)]  # a query's right answer comes from another camera
    images: Annotated[tuple[Annotated[int, Field(ge=2)], Count], AfterValidator(_rising)]
    company: Fraction
    junk: Annotated[int, Field(ge=0)]
    distractors: Annotated[int, Field(ge=0)]
    light: Lights  # instead of the look's


class World(Section):
    """All of world.yaml.

    Whatever is drawn from `rng` depends on the seed and the names asked for, on nothing else.
    """

    seed: Seed
    frame: Frame
    videos: Videos | None = None  # a world may have labelled people alone
    look: Look
    benchmark: Benchmark

    def rng(self, *names: str | int) -> np.random.Generator:
        """The generator of one named part.

        So parts can be made in any order and in any process.
        """
        return np.random.default_rng(
            [self.seed, *(zlib.crc32(str(name).encode()) for name in names)]
        )


def load_world(path: Path | str) -> World:
    """The world that a world.yaml describes.

    Raises CionError, which names the file and the key that is wrong in it.
    """
    return read(path, World)
