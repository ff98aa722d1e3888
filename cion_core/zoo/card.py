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
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Card:
    """Deterministic content only: equal weights have equal cards, so that DVC sees them as equal.

    `image` is (height, width) in pixels; `mean` and `std` are per RGB channel of images scaled to
    0..1; `resize` is how they are brought to that size (see `images.resize`); `num_features` the
    width of a feature; `extra` anything more that JSON can hold; `built_by` the import path of the
    `zoo.Builder` that makes the module, empty for a backbone alone. The rest is where a model comes
    from, which an export fills in (a run's id in a stage's output would make equal weights look
    changed): `data` is a hash of the data trained on, `revision` the git and so DVC revision, `run`
    MLflow's id of the run that trained it, `metrics` {benchmark: {metric: percent}}.
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
        """As JSON holds it, without what is not known."""
        return {key: value for key, value in asdict(self).items() if key not in OPTIONAL or value}


def write(folder: Path, card: Card) -> None:
    """Write `folder`/card.json."""
    work.write_json(folder / FILE, card.known)


def read_json(folder: Path) -> dict:
    """The content of `folder`/card.json; CionError names what is wrong with it."""
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
    """Read and check `folder`/card.json."""
    value, path = read_json(folder), Path(folder) / FILE
    known = {f.name for f in fields(Card)}
    missing = sorted(known - {"extra", *OPTIONAL} - set(value))
    if missing or set(value) - known:
        raise CionError(
            f"{path}: missing keys {missing}, unknown keys {sorted(set(value) - known)}"
        )
    for name, length, kind in (
        ("image", 2, int),
        ("mean", 3, (int, float)),
        ("std", 3, (int, float)),
    ):
        items = value[name]
        if (
            not isinstance(items, list)
            or len(items) != length
            or not all(isinstance(i, kind) for i in items)
        ):
            raise CionError(f"{path}: {name} must be a list of {length} numbers, found {items!r}")
        value[name] = tuple(items)
    return Card(**value)
