"""What travels with a model's weights: how to build it, and how to prepare its images."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from cion_core import config, work
from cion_core.errors import CionError

FILE = "card.json"
FROZEN = "frozen"  # what evaluation calls a model that was pre-trained, and no more
FINETUNED = "finetuned"  # in a card's `extra`: what fine-tuning has done to it
OPTIONAL = ("resize", "built_by", "name", "licence", "data", "revision", "run", "metrics")
# The keys whose values are lists, how long these are, and of what.
LISTS = (("image", 2, int), ("mean", 3, int | float), ("std", 3, int | float))
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Card:
    """How a model is built, how its images are prepared, and where it comes from.

    Equal weights have equal cards, so that DVC sees them as equal. So what differs between equal
    trainings (the last six) is left empty by stages, and filled in by an export.

    Args:
        backbone: its name.
        method: what trained it.
        image: (height, width) of its images, in pixels.
        mean: per RGB channel of images scaled to 0..1.
        std: as `mean`.
        num_features: the width of a feature.
        extra: anything more that JSON can hold.
        resize: how images are brought to their size, as in `images.resize`.
        built_by: the import path of the `zoo.Builder` that makes the module; empty for a backbone
            alone.
        name: what people call the model.
        licence: of its weights.
        data: a hash of the data that it was trained on.
        revision: git's, and so DVC's.
        run: MLflow's id of the run that trained it.
        metrics: {benchmark: {metric: percent}}.
    """

    backbone: str
    method: str
    image: tuple[int, int]
    mean: Triple
    std: Triple
    num_features: int
    extra: dict = field(default_factory=dict)
    resize: str = ""
    built_by: str = ""
    name: str = ""
    licence: str = ""
    data: str = ""
    revision: str = ""
    run: str = ""
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def known(self) -> dict:
        """The card as JSON holds it, without what is not known."""
        return {key: value for key, value in asdict(self).items() if key not in OPTIONAL or value}


def write(folder: Path, card: Card) -> None:
    """Write `folder`/card.json, whole or not at all.

    Args:
        folder: a model folder, made if absent.
        card: its card.
    """
    work.write_json(folder / FILE, card.known)


def read_json(folder: Path) -> dict:
    """Read `folder`/card.json as it is.

    Args:
        folder: a model folder.

    Returns:
        Its content; keys and values are not checked.

    Raises:
        CionError: no such file, or no JSON object in it.
    """
    path = Path(folder) / FILE
    if not path.exists():
        raise CionError(
            f"{path}: no such file; a model folder holds card.json and model.safetensors"
        )
    value = config.load_json(path)
    if not isinstance(value, dict):
        raise CionError(f"{path}: must be a JSON object, found {type(value).__name__}")
    return value


def read(folder: Path) -> Card:
    """Read and check `folder`/card.json.

    Args:
        folder: a model folder of the zoo.

    Returns:
        The card.

    Raises:
        CionError: no such file, no JSON object in it, a key missing or unknown, or a value of
            another form.
    """
    value, path = read_json(folder), Path(folder) / FILE
    known = {f.name for f in fields(Card)}
    missing = sorted(known - {"extra", *OPTIONAL} - set(value))
    if missing or set(value) - known:
        raise CionError(
            f"{path}: missing keys {missing}, unknown keys {sorted(set(value) - known)}"
        )
    for name, length, kind in LISTS:
        items = value[name]
        fits = isinstance(items, list) and len(items) == length
        if not fits or not all(isinstance(item, kind) for item in items):
            raise CionError(f"{path}: {name} must be a list of {length} numbers, found {items!r}")
        value[name] = tuple(items)
    return Card(**value)
