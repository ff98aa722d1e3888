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
Epochs = Annotated[str, Field(pattern=r"^[1-9]\d*(\.\d+)? epochs$")]  # "100 epochs"
Length = Count | Epochs  # a count is one of steps
Phases = Annotated[list[tuple[Fraction, Count]], Field(min_length=1)]


class Head(Section):
    """The projection head before a loss.

    Attributes:
        last_layer: how the prototypes start. linear: as PyTorch's Linear does, which is published
            (rows of length 0.58). normal: by a truncated normal distribution of deviation 0.02
            (rows of length 0.32 at a bottleneck of 256).
    """

    out_dim: Count
    hidden: Count
    bottleneck: Count
    batch_norm: bool
    last_layer: Literal["linear", "normal"] = "linear"


class Views(Section):
    """How multi-crop views are drawn: the probabilities of operations, and the local views' share.

    Attributes:
        blur: for the first global, the second global and the local views.
        solarise: for the second global view.
        local_scale: the least and the largest share of a crop that a local view shows.
    """

    jitter: Fraction
    grey: Fraction
    blur: tuple[Fraction, Fraction, Fraction]
    solarise: Fraction
    local_scale: tuple[Fraction, Fraction]


class Temperature(Section):
    """Temperatures of the student's and the teacher's softmax."""

    student: Positive
    teacher: Positive


class Momentum(Section):
    """Momentum of the teacher's weights, from which it rises to 1, and of the centre."""

    teacher: Fraction
    center: Fraction


class Guided(Section):
    """Settings of a method that goes by identities.

    Attributes:
        lr: the learning rate at the end of the warm-up.
        instances: [fraction of the run, K] of each phase; fractions rise from 0.0 on.
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
    """What methods share; each method's own settings stand under its name.

    `views`, `local_image`, `local_views`, `head`, `temperature`, `momentum`, `weight_decay`, `clip`
    and `freeze_last` are for those that distil themselves: dino, tracklet and cion.

    Attributes:
        min_confidence: only links across videos that are right with at least this probability are
            trained on; null: all links. Methods that do not go by level 3 ignore it.
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
        guided = {name: value for name, value in self if isinstance(value, Guided)}
        for name, settings in guided.items():
            for _, k in settings.instances:
                if self.batch % k:
                    raise ValueError(
                        f"batch {self.batch} is no multiple of {name}.instances K = {k}"
                    )
        return self
