"""The card beside an exported detector: what its file does not say of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from cion_core import config
from cion_core.config import Count, Fraction, Positive, Section
from cion_core.errors import CionError
from cion_core.extract.detectors._layouts import LAYOUTS

Colour = tuple[float, float, float]
Spread = tuple[Positive, Positive, Positive]
Layout = Literal[tuple(LAYOUTS)]
EXAMPLE = '{"layout": "yolo", "size": [640, 640], "persons": [0]}'


class DetectorCard(Section):
    """How frames go into a detector, and what comes out of it.

    Attributes:
        layout: what the outputs hold; see `_layouts` for each.
        size: height and width of the input, in pixels.
        fit: how a frame is brought to that size. letterbox: whole, with grey bars around it.
            rectangle: likewise, with bars up to the next multiple of 32 alone. corner: whole, in
            the upper left corner. stretch: without regard to its proportions.
        colours: order of the channels.
        divide_by, mean, std: a pixel v becomes (v / divide_by - mean) / std, by channel in the
            order of `colours`.
        persons: the numbers of the classes that are people.
        outputs: names of the outputs by what they hold, such as {"boxes": "dets", "logits":
            "labels"}; needed where there are several.
        scores: what makes probabilities of a DETR's logits. With softmax the last class is
            "nothing".
        overlap: IoU above which the less confident of two boxes is the same person's (non-maximum
            suppression). `rows`, `detr` and `labelled` need none.
    """

    layout: Layout
    size: tuple[Count, Count]
    persons: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    fit: Literal["letterbox", "rectangle", "corner", "stretch"] = "letterbox"
    colours: Literal["rgb", "bgr"] = "rgb"
    divide_by: Positive = 255
    mean: Colour = (0, 0, 0)
    std: Spread = (1, 1, 1)
    outputs: dict[str, str] = Field(default_factory=dict)
    scores: Literal["sigmoid", "softmax"] = "sigmoid"
    overlap: Fraction = 0.7


def card_path(model: Path) -> Path:
    """Tell where the card of a model file lies: `person.json` beside `person.onnx`.

    Args:
        model: the ONNX file.

    Returns:
        The card's path, whether or not it is there.
    """
    return model.with_suffix(".json")


def read(model: Path) -> DetectorCard:
    """Read the card of a model file.

    Args:
        model: the ONNX file.

    Returns:
        The card.

    Raises:
        CionError: there is none, or it is wrong; it names file and key.
    """
    path = card_path(model)
    if not path.exists():
        keys = ", ".join(DetectorCard.keys())
        raise CionError(
            f"{path}: no such file; it must say how {model.name} is used, such as {EXAMPLE}\n"
            f"layouts: {', '.join(LAYOUTS)}; all keys: {keys} (docs/detectors.md)"
        )
    return config.checked(config.load_json(path), DetectorCard, path)
