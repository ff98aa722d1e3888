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
KEY = "embedder"  # in a card
DEFAULT = "zoo"  # whose cards name none, and are the zoo's own to read


def folder_of(p: Embed, models: Path = MODELS) -> Path:
    """The model folder that `embed.model` names; CionError where there is none lists those there."""
    folder = models / p.model
    if not folder.is_dir():
        there = ", ".join(sorted(path.name for path in models.glob("*/"))) or "none"
        raise CionError(
            f"embed.model: no folder {folder}; there: {there}. "
            f"To add one: cp -r data/pretrain/METHOD-BACKBONE {folder} (see {models / 'README.md'})"
        )
    return folder


def embedder_name(folder: Path | str) -> str:
    """The name of the embedder that a model folder's card names; CionError where there is no card."""
    return cards.read_json(Path(folder)).get(KEY, DEFAULT)


def embedder_of(folder: Path | str) -> type[Embedder]:
    """The embedder that a model folder's card names; CionError tells what is wrong with the card."""
    name = embedder_name(folder)
    try:
        return EMBEDDERS.named(name)
    except CionError as error:
        raise CionError(f"{Path(folder) / cards.FILE}: {error}") from None


def load_embedder(folder: Path | str, runtime: Runtime = Runtime()) -> Embedder:
    """The embedder of a model folder, ready; CionError tells what is missing in it."""
    folder = Path(folder)
    part, card = embedder_of(folder), cards.read_json(folder)
    values = {key: value for key, value in card.items() if key != KEY} if KEY in card else {}
    return part(folder, config.checked(values, part.Settings, folder / cards.FILE), runtime)
