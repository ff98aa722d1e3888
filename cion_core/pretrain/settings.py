"""The section `pretrain` of params.yaml."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from cion_core.config import Count, Fraction, Positive, Section, Seed
from cion_core.pretrain.methods import METHODS
from cion_core.registry import Kind
from cion_core.sections import PartsSection
from cion_core.zoo.names import check as check_backbone

Size = tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]]  # height, width
Backbone = Annotated[str, AfterValidator(check_backbone)]
Length = (
    Count | Annotated[str, Field(pattern=r"^[1-9]\d*(\.\d+)? epochs$")]
)  # steps, or "100 epochs"
Phases = Annotated[list[tuple[Fraction, Count]], Field(min_length=1)]


class Head(Section):
    """Of the projection head that a loss is taken behind.

    last_layer: how the prototypes start. linear: as PyTorch's Linear does, which is published (rows
    of length 0.58); normal: by a normal distribution cut off, of deviation 0.02 (rows of length
    0.32 at a bottleneck of 256).
    """

    out_dim: Count
    hidden: Count
    bottleneck: Count
    batch_norm: bool
    last_layer: Literal["linear", "normal"] = "linear"


class Views(Section):
    """Probabilities of the multi-crop views' operations, and the share of a crop that a local view
    shows.

    `blur` is for the first global, the second global and the local views.
    """

    jitter: Fraction
    grey: Fraction
    blur: tuple[Fraction, Fraction, Fraction]
    solarise: Fraction
    local_scale: tuple[Fraction, Fraction]


class Temperature(Section):
    """Of the student's and the teacher's softmax."""

    student: Positive
    teacher: Positive


class Momentum(Section):
    """Of the teacher's weights (where it starts) and of the centre."""

    teacher: Fraction
    center: Fraction


class Guided(Section):
    """Settings of a method that goes by identities: `instances` lists [fraction of the run, K],
    rising from 0.0 on.
    """

    lr: Positive
    instances: Phases

    @model_validator(mode="after")
    def _rising(self) -> Guided:
        starts = [start for start, _ in self.instances]
        if starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError(f"instances must start at 0.0 and rise, got fractions {starts}")
        return self


class Pretrain(PartsSection):
    """What every method is trained with; each method's own settings stand under its name.

    min_confidence: the probability to be right of the links across videos that are trained on;
    null: all links. It matters to methods that go by identities of level 3.
    """

    chooses: ClassVar[dict[str, Kind]] = {"methods": METHODS}

    methods: Annotated[list[str], Field(min_length=1)]
    backbones: Annotated[list[Backbone], Field(min_length=1)]
    seed: Seed
    steps: Length
    batch: Count
    min_confidence: Fraction | None = None
    image: Size
    local_image: Size
    local_views: Annotated[int, Field(ge=0)]
    views: Views
    held_out: Annotated[float, Field(ge=0, lt=1)]
    head: Head
    temperature: Temperature
    momentum: Momentum
    weight_decay: tuple[float, float]
    warmup: Fraction
    clip: Annotated[float, Field(ge=0)]
    freeze_last: Fraction

    @model_validator(mode="after")
    def _whole_identities(self) -> Pretrain:
        for name, settings in self:
            for _, k in settings.instances if isinstance(settings, Guided) else ():
                if self.batch % k:
                    raise ValueError(
                        f"batch {self.batch} is no multiple of {name}.instances K = {k}"
                    )
        return self
