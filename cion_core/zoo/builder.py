"""Models that are more than a backbone: who builds them, named in their card."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from cion_core import zoo
from cion_core.errors import CionError
from cion_core.registry import importable
from cion_core.zoo.card import Card


class Builder(ABC):
    """A class that builds the module which a model folder holds the weights of.

    Its import path is in the card.
    """

    @classmethod
    @abstractmethod
    def inference(cls, card: Card) -> nn.Module:
        """Make the module, of random weights.

        Args:
            card: of the model folder. `image` is the size of its images; `extra` holds the settings
                of its training.

        Returns:
            A module: float [B, 3, H, W], normalised -> float [B, module.num_features].
        """


def fresh(card: Card) -> nn.Module:
    """Make the module that a card describes, of random weights.

    Args:
        card: of a model folder. Its `built_by` names a class that you have, which is imported;
            nothing that lies in a model folder is ever run.

    Returns:
        The card's backbone alone, or what `built_by` makes of it.

    Raises:
        CionError: there is no such class, or it is no Builder.
    """
    if not card.built_by:
        return zoo.create_model(card.backbone, card.image)
    where = f"the card's built_by: {card.built_by}"
    parent, _, name = card.built_by.rpartition(".")
    module = importable(parent, where) if parent else None
    if module is None:
        raise CionError(
            f"{where}: no module {parent or card.built_by}; put the file it came from where "
            "Python finds it"
        )
    builder = getattr(module, name, None)
    if not (isinstance(builder, type) and issubclass(builder, Builder)):
        raise CionError(
            f"{where}: {module.__file__} has no {name} that builds models; see {__name__}.Builder"
        )
    return builder.inference(card)
