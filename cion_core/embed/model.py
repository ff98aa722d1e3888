"""From a model folder to what embeds images with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cion_core import config
from cion_core.embed.embedders import EMBEDDERS
from cion_core.embed.settings import Embed
from cion_core.errors import CionError
from cion_core.runtime import Runtime
from cion_core.zoo import card as cards

if TYPE_CHECKING:
    from cion_core.embed.embedders.base import Embedder

MODELS = Path("models")
CARD_KEY = "embedder"  # in a card
DEFAULT = "zoo"  # whose cards name none, and are the zoo's own to read


def folder_of(p: Embed, models: Path = MODELS) -> Path:
    """Find what `embed.model` names.

    Args:
        p: the section.
        models: the folder that the name is below.

    Returns:
        A model folder, or a file.

    Raises:
        CionError: there is none; lists those that there are.
    """
    place = models / p.model
    if not place.exists():
        there = sorted(path.name for path in models.glob("*") if path.name != "README.md")
        raise CionError(
            f"embed.model: no folder {place}; there: {', '.join(there) or 'none'}. To add one: "
            f"cion model add FILE --name {p.model}, or cp -r data/pretrain/METHOD-BACKBONE "
            f"{place} (see {models / 'README.md'})"
        )
    return place


def locate(model: Path | str) -> Path:
    """Find the model folder of whatever names a model.

    `bring.locate`, which does that, is imported only where it is needed.

    Args:
        model: as `bring.locate` takes it.
    """
    path = Path(model)
    if (path / cards.FILE).is_file():
        return path
    from cion_core.embed import bring  # torch and timm load with it

    return bring.locate(model)


def embedder_name(folder: Path | str) -> str:
    """Read which embedder a model's card names.

    Args:
        folder: whatever names a model.

    Raises:
        CionError: there is no such model, or no card in it.
    """
    return cards.read_json(locate(folder)).get(CARD_KEY, DEFAULT)


def embedder_of(folder: Path | str) -> type[Embedder]:
    """Find the embedder that a model's card names.

    Args:
        folder: whatever names a model.

    Raises:
        CionError: there is no such model, no card in it, or no such embedder.
    """
    name = embedder_name(folder)
    try:
        return EMBEDDERS.named(name)
    except CionError as error:
        raise CionError(f"{Path(folder) / cards.FILE}: {error}") from None


def load_embedder(model: Path | str, runtime: Runtime = Runtime()) -> Embedder:
    """Load an embedder, ready to be called.

    Args:
        model: a model folder, an ONNX file, a file of weights, `hf:ORG/NAME`, or a name of timm
            (see `bring.locate`).
        runtime: where it runs, and how many images at once.

    Raises:
        CionError: there is no such model, or something is missing or wrong in it.
    """
    folder = locate(model)
    embedder_class = embedder_of(folder)
    card = cards.read_json(folder)
    # A card that names no embedder is the zoo's, whose embedder has no settings.
    values = {}
    if CARD_KEY in card:
        values = {key: value for key, value in card.items() if key != CARD_KEY}
    settings = config.checked(values, embedder_class.Settings, folder / cards.FILE)
    return embedder_class(folder, settings, runtime)
