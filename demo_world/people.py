"""Who lives in the demo world, and what each looks like, from a small palette that all share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]  # RGB, 0..255

# Few colours, the dull ones more often: one garment's colour alone tells almost nobody apart.
PALETTE: dict[Colour, float] = {
    (32, 32, 36): 3.0,  # black
    (78, 80, 86): 2.0,  # charcoal
    (142, 144, 148): 2.0,  # grey
    (226, 224, 218): 2.0,  # white
    (36, 48, 92): 2.0,  # navy
    (62, 104, 178): 1.5,  # blue
    (176, 44, 46): 1.5,  # red
    (58, 112, 66): 1.2,  # green
    (196, 170, 128): 1.2,  # beige
    (112, 74, 48): 1.0,  # brown
    (222, 178, 52): 0.7,  # yellow
    (206, 112, 150): 0.7,  # pink
}
SKINS: tuple[Colour, ...] = (
    (241, 204, 178),
    (224, 178, 146),
    (190, 138, 104),
    (140, 94, 66),
    (92, 62, 46),
)
HAIRS: tuple[Colour, ...] = (
    (30, 26, 24),
    (66, 44, 30),
    (116, 78, 44),
    (202, 166, 98),
    (150, 148, 146),
    (140, 62, 34),
)

# What a garment or a bag can be, and how often.
TOPS = {
    "plain": 3.0,
    "hoops": 2.0,
    "pinstripes": 1.2,
    "check": 1.4,
    "two_tone": 1.6,
    "band": 1.3,
    "logo": 1.6,
    "open": 1.4,
}
BOTTOMS = {"trousers": 5.0, "shorts": 2.0, "skirt": 1.6}
BAGS = {"none": 4.0, "backpack": 3.0, "handbag": 1.8, "satchel": 1.4}
HATS = {"none": 6.0, "cap": 1.5, "beanie": 1.3}
HAIR_STYLES = {"short": 3.0, "long": 2.5, "bun": 1.0, "bald": 0.7}


@dataclass(frozen=True)
class Person:
    """One person's looks; nothing here depends on the camera, the view or the time."""

    height: float  # metres
    build: float  # width relative to the average
    skin: Colour
    hair: str
    hair_colour: Colour
    hat: str
    hat_colour: Colour
    top: str
    top_colours: tuple[Colour, Colour]
    long_sleeves: bool
    second_sleeves: bool  # sleeves in the second colour
    bottom: str
    bottom_colour: Colour
    side_stripe: bool  # along the trousers, in the top's second colour
    shoes: Colour
    bag: str
    bag_colour: Colour


def _pick(rng: np.random.Generator, weights: dict) -> object:
    options = list(weights)
    p = np.array(list(weights.values()))
    return options[rng.choice(len(options), p=p / p.sum())]


def _dye(rng: np.random.Generator, unlike: tuple[Colour, ...] = ()) -> Colour:
    """A palette colour visibly different from those in `unlike`, a little more or less faded."""
    while True:
        colour = np.array(_pick(rng, PALETTE), float)
        if all(np.abs(colour - other).sum() > 120 for other in unlike):
            break
    colour = colour * rng.uniform(0.88, 1.12) + rng.normal(0, 4, 3)
    return tuple(int(c) for c in colour.clip(8, 245))


def person(rng: np.random.Generator) -> Person:
    """Draw one person."""
    first = _dye(rng)
    second = _dye(rng, (first,))
    return Person(
        height=float(np.clip(rng.normal(1.72, 0.08), 1.52, 1.95)),
        build=float(np.clip(rng.normal(1.0, 0.1), 0.8, 1.3)),
        skin=SKINS[rng.integers(len(SKINS))],
        hair=_pick(rng, HAIR_STYLES),
        hair_colour=HAIRS[rng.integers(len(HAIRS))],
        hat=_pick(rng, HATS),
        hat_colour=_dye(rng),
        top=_pick(rng, TOPS),
        top_colours=(first, second),
        long_sleeves=bool(rng.random() < 0.6),
        second_sleeves=bool(rng.random() < 0.25),
        bottom=_pick(rng, BOTTOMS),
        bottom_colour=_dye(rng),
        side_stripe=bool(rng.random() < 0.2),
        shoes=_dye(rng),
        bag=_pick(rng, BAGS),
        bag_colour=_dye(rng, (first,)),
    )
