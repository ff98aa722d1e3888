"""What a pre-training method must do."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from cion_core import work
from cion_core.config import Section
from cion_core.pretrain.methods import METHODS
from cion_core.pretrain.settings import Pretrain
from cion_core.pretrain.view_batches import MEAN, STD
from cion_core.pretrain.views import ViewKind
from cion_core.registry import Part
from cion_core.training.learner import Learner, Rates
from cion_core.zoo.card import Triple
from cion_core.zoo.weights import load_weights

LAST_LR = 1e-6  # where the cosine ends, as published


class Method(Part, nn.Module, of=METHODS):
    """A way to pre-train a backbone. To add one that learns, inherit from `Trained`, below.

    Every method has `about`, a one-line description shown to users, and `kept_network`.

    Attributes:
        published_lr: (learning rate, batch) as published; for another batch the rate is scaled in
            proportion. None: there is none.
        labels: whose identities make up the batches: those of a level of denoising, or "crop":
            every crop is an identity of its own.
        mean, std: how the images of the backbone that it keeps are normalised.

    Args:
        p: the section `pretrain` of params.yaml, the same for all methods; `self.settings` are the
            method's own.
        backbone: of random weights, the same for all methods: [B, 3, H, W] to [B,
            backbone.num_features].
        identities: how many there are among the crops; batches number them 0 to identities - 1.
    """

    published_lr: ClassVar[tuple[float, int] | None] = None
    labels: ClassVar[Literal["crop", "video", "cross_video"]] = "crop"
    mean: Triple = MEAN
    std: Triple = STD

    def __init__(self, p: Pretrain, backbone: nn.Module, identities: int) -> None:
        super().__init__()
        self.p, self.settings = p, p.settings(self.name)

    @property
    def phases(self) -> list[tuple[float, int]]:
        """[(start as a fraction of the run, K)]: K crops of each identity in a batch.

        A method with K above 1 takes them from `Guided` settings: studies and the check that a
        batch is a multiple of K know no others.
        """
        return [(0.0, 1)]

    def load_external(self, backbone: str) -> dict:
        """Put weights of somebody else's into the backbone, before anything is done with it.

        Nothing by default.

        Args:
            backbone: its name.

        Returns:
            What the model's card says of them, as JSON has it. It distinguishes a run from others.
        """
        return {}

    @property
    @abstractmethod
    def kept_network(self) -> nn.Module:
        """The backbone to keep."""


class Untrained(Method):
    """A method that learns nothing: the backbone is kept as it came."""

    def __init__(self, p: Pretrain, backbone: nn.Module, identities: int) -> None:
        super().__init__(p, backbone, identities)
        self.backbone = backbone

    @property
    def kept_network(self) -> nn.Module:
        return self.backbone


class ExternalWeights(Untrained):
    """A method that keeps weights that somebody else has trained.

    Files that params.yaml names under `files` are listed with their hashes (`listing`), so that the
    stage is run again where a file has changed.
    """

    class Settings(Section):
        """Where the weights are.

        Attributes:
            files: {backbone: path of its weights}.
        """

        files: dict[str, str] = Field(default_factory=dict)

    @abstractmethod
    def weights(self, backbone: str) -> tuple[Path, str]:
        """The file with the weights of the backbone of this name, and where it is from.

        Raises:
            CionError: there is none.
        """

    def load_external(self, backbone: str) -> dict:
        path, source = self.weights(backbone)
        unused_keys = load_weights(self.backbone, path)
        left_out = sorted({key.partition(".")[0] for key in unused_keys})
        return {"weights": {"source": source, "sha256": work.sha256(path), "left_out": left_out}}


@dataclass(frozen=True)
class TeacherRates(Rates):
    """With the momentum of a teacher or a momentum encoder: what it keeps of itself."""

    momentum: float


class Trained(Method, Learner):
    """A method that learns. To add one, write one file with a subclass:

        class Mine(Trained):
            about = "What it does, in one line"
            style = Style("#aa3355")             # its line in the report; optional
            labels = "cross_video"               # whose identities make up the batches

            class Settings(Section):             # its own parameters: pretrain.mine in params.yaml
                lr: Positive

    Its networks and state are modules and buffers made in the constructor. It says what is abstract
    below and in `Learner`: the views of a crop, the loss of a batch of them (`forward`), the
    optimiser with its `groups`, the schedules (`Rates` will do where there is no teacher), what is
    kept; `clip`, where gradients are to be bounded by `pretrain.clip`. `cion.py` is the fullest
    example, `lup.py` one with a state that follows each step.
    """

    @property
    def advice(self) -> str:
        return f"lower pretrain.{self.name}.lr or lengthen pretrain.warmup"

    @property
    @abstractmethod
    def chance(self) -> float:
        """The loss of a network that knows nothing."""

    @abstractmethod
    def view_kinds(self) -> list[ViewKind]:
        """The views of a crop that `forward` is given, in their order."""

    def loss_bytes(self, crops: float) -> float:
        """Bytes that the loss of so many crops holds, beside what autograd keeps; for the plan."""
        return 0.0


def parameter_groups(*modules: nn.Module) -> list[dict]:
    """Two optimiser groups: matrices, to which weight decay applies, and biases and norms."""
    parameters = [p for module in modules for p in module.parameters()]
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    return [{"params": matrices, "decays": True}, {"params": vectors, "decays": False}]


def single_parameter_group(*modules: nn.Module) -> list[dict]:
    """One optimiser group of everything: weight decay applies to biases and norms, too."""
    parameters = [p for module in modules for p in module.parameters()]
    return [{"params": parameters, "decays": True}]


@torch.no_grad()
def momentum_update(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move the teacher's parameters towards the student's: t ← momentum·t + (1 - momentum)·s.

    With momentum 0.9, a teacher at 1 and a student at 2, the teacher moves to 1.1.
    """
    teacher_weights = list(teacher.parameters())
    student_weights = list(student.parameters())
    torch._foreach_lerp_(teacher_weights, student_weights, 1 - momentum)  # in few kernels
