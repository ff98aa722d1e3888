"""Typed, validated params.yaml; an error names the key and what would be valid there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from cion_core.config import Count, Fraction, Positive, Section, Seed, read
from cion_core.zoo.names import check as check_backbone

FILE = Path("params.yaml")

Method = Literal["random", "lup", "pnl", "dino", "tracklet", "cion"]
Auto = Literal["auto"]
Device = Literal["auto", "cpu", "cuda"]
Distance = Annotated[float, Field(gt=0, le=2)]
Size = tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]]  # height, width
Backbone = Annotated[str, AfterValidator(check_backbone)]
Length = Count | Annotated[str, Field(pattern=r"^[1-9]\d*(\.\d+)? epochs$")]  # steps, or "100 epochs"
Phases = Annotated[list[tuple[Fraction, Count]], Field(min_length=1)]


class Ingest(Section):
    source: str


class Extract(Section):
    detector: Literal["motion", "hog", "yolo"]
    weights: str
    confidence: Fraction
    min_height: Count
    rate: Positive
    crop_rate: Positive
    lost_seconds: Annotated[float, Field(ge=0)]
    min_crops: Count


class Embed(Section):
    model: Annotated[str, Field(pattern=r"^[^/\\]+$")]
    balance: bool
    batch: Count


class Radius(Section):
    tracklet: Distance | Auto = "auto"
    video: Distance | Auto = "auto"
    cross_video: Distance | Auto = "auto"


class Separation(Section):
    video: Distance | Auto = "auto"
    cross_video: Distance | Auto = "auto"


class Denoise(Section):
    """Thresholds are cosine distances; that of reciprocal linking is one of neighbourhoods (DESIGN §4)."""

    radius: Distance | Auto | Radius
    separation: Distance | Auto | Separation
    false_link_rate: Annotated[float, Field(gt=0, lt=1)]
    min_crops: Count
    linking: Literal["reciprocal", "published"]
    range: Annotated[int, Field(ge=2)] | Literal["auto", "all"]
    stride: Count | Auto
    cannot_link: bool
    centre: bool

    @model_validator(mode="after")
    def _stride_below_range(self) -> Denoise:
        if isinstance(self.stride, int) and isinstance(self.range, int) and self.stride >= self.range:
            raise ValueError(f"stride {self.stride} must be below range {self.range}, or none overlap")
        return self

    def radius_of(self, level: str) -> float | None:
        """The radius of a level, None for auto."""
        return _of_level(self.radius, level)

    def separation_of(self, level: str) -> float | None:
        """The separation of a level (video, cross_video), None for auto."""
        return _of_level(self.separation, level)


def _of_level(value: float | str | Section, level: str) -> float | None:
    value = getattr(value, level) if isinstance(value, Section) else value
    return None if value == "auto" else float(value)


class Benchmark(Section):
    source: str


class Head(Section):
    out_dim: Count
    hidden: Count
    bottleneck: Count
    batch_norm: bool


class Views(Section):
    """Probabilities of the multi-crop views' operations, and the share of a crop that a local view shows.

    `blur` is for the first global, the second global and the local views.
    """

    jitter: Fraction
    grey: Fraction
    blur: tuple[Fraction, Fraction, Fraction]
    solarise: Fraction
    local_scale: tuple[Fraction, Fraction]


class Temperature(Section):
    student: Positive
    teacher: Positive


class Momentum(Section):
    teacher: Fraction
    center: Fraction


class Random(Section):
    """Nothing to set: the backbone stays as it was initialised."""


class Dino(Section):
    lr: Positive


class Guided(Section):
    """cion and tracklet: `instances` lists [fraction of the run, K] in rising order, from 0.0 on."""

    lr: Positive
    instances: Phases

    @model_validator(mode="after")
    def _rising(self) -> Guided:
        starts = [start for start, _ in self.instances]
        if starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError(f"instances must start at 0.0 and rise, got fractions {starts}")
        return self


class Lup(Section):
    lr: Positive
    temperature: Positive
    queue: Count
    momentum: Fraction
    dim: Count
    weight_decay: Annotated[float, Field(ge=0)]


class Pnl(Lup):
    """Lup's, and what corrects labels: `correct_from` is a fraction of the run."""

    prototype_momentum: Fraction
    alpha: Fraction
    threshold: Fraction
    correct_from: Fraction


class Pretrain(Section):
    methods: Annotated[list[Method], Field(min_length=1)]
    backbones: Annotated[list[Backbone], Field(min_length=1)]
    seed: Seed
    device: Device
    steps: Length
    batch: Count
    image: Size
    local_image: Size
    local_views: Annotated[int, Field(ge=0)]
    views: Views
    workers: Annotated[int, Field(ge=0)]
    augment: Literal["auto", "cpu", "device"]
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    accumulate: Count
    checkpointing: bool
    compile: bool
    checkpoint_every: Count
    held_out: Annotated[float, Field(ge=0, lt=1)]
    watch_every: Count
    head: Head
    temperature: Temperature
    momentum: Momentum
    weight_decay: tuple[float, float]
    warmup: Fraction
    clip: Annotated[float, Field(ge=0)]
    freeze_last: Fraction
    random: Random
    dino: Dino
    tracklet: Guided
    cion: Guided
    lup: Lup
    pnl: Pnl

    @model_validator(mode="after")
    def _whole_identities(self) -> Pretrain:
        for method in ("tracklet", "cion"):
            for _, k in getattr(self, method).instances:
                if self.batch % k:
                    raise ValueError(f"batch {self.batch} is no multiple of {method}.instances K = {k}")
        return self


class Finetune(Section):
    seed: Seed
    device: Device
    steps: Count
    identities: Annotated[int, Field(ge=2)]
    instances: Annotated[int, Field(ge=2)]
    lr: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    margin: Annotated[float, Field(ge=0)]
    smoothing: Annotated[float, Field(ge=0, lt=1)]
    checkpoint_every: Count


class Evaluate(Section):
    device: Device
    batch: Count
    rerank: bool


class Params(Section):
    """All of params.yaml, one section per stage."""

    ingest: Ingest
    extract: Extract
    embed: Embed
    denoise: Denoise
    benchmark: Benchmark
    pretrain: Pretrain
    finetune: Finetune
    evaluate: Evaluate


def load(path: Path | str = FILE) -> Params:
    """Read and validate params.yaml; CionError names every bad key."""
    return read(path, Params)
