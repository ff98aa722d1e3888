"""What each model of the comparison cost and saw, beside how well it finds people.

Counted numbers come from cards and evaluations, and are the same in every run. Timed ones lie in `costs/` alone, which
no stage depends on: a training that took longer makes no result another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cion_core.project import Params
from cion_core.report.comparison import STRIPES, Evaluation, evaluations, load_json
from cion_core.zoo.card import FROZEN, read_json

SAW = ("images", "identities", "hours")  # beside the scores in the table; the page tells the rest
COUNTED = ("images", "identities", "crops_seen", "parameters", "flops")  # in comparison.csv: the same in every run
TITLES = {  # of columns, in the order of the page
    "images": "Images", "identities": "Identities", "steps": "Steps", "crops_seen": "Crops seen", "hours": "Time",
    "parameters": "Parameters", "flops": "FLOPs", "latency": "Latency, ms",
}  # fmt: skip
DEVICES = {"cpu": "CPU", "cuda": "GPU"}
UNITS = ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))  # from which on, of how many, which letter


@dataclass(frozen=True)
class Cost:
    """Of one evaluated model; None is what nobody has told, or what somebody else has trained.

    Attributes:
        parameters, flops: of the model as evaluated, as `evaluate.cost.counted` counts.
        images, identities: that pre-training learnt from; identities None for a method that is told no one's.
        steps, crops_seen: of pre-training; an image counts as often as it was seen.
        hours: of all training, pre-training and runs added up, each process with its own.
        device: where that was: CPU, GPU, or both.
        latency: milliseconds from one image to its feature, the median, where it was evaluated.
    """

    parameters: int
    flops: int
    images: int | None
    identities: int | None
    steps: int | None
    crops_seen: int | None
    hours: float | None
    device: str
    latency: float | None


def costs(p: Params, root: Path) -> dict[Evaluation, Cost]:
    """The cost of every evaluation of this reproduction; CionError names the file of a stage that has not run."""
    return {one: _cost(p, root, one) for one in evaluations(p)}


def told(cost: Cost, name: str) -> str:
    """A column of TITLES for people: 11.2 M, 0.5; `–` where nothing is known."""
    value = getattr(cost, name)
    if value is None:
        return "–"
    if name == "hours":
        return duration(value)
    return f"{value:.1f}" if name == "latency" else short(value)


def short(count: int) -> str:
    """A count in few digits: 4381, 12.9 k, 11.2 M, 4.1 G."""
    for least, unit, letter in UNITS:
        if count >= least:
            return f"{count / unit:.1f} {letter}"
    return str(count)


def duration(hours: float) -> str:
    """Hours for people: 3.2 h, and minutes where it was less than one."""
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"


def counted(found: dict[Evaluation, Cost]) -> dict[Evaluation, dict[str, int | None]]:
    """What COUNTED names of each."""
    return {one: {name: getattr(cost, name) for name in COUNTED} for one, cost in found.items()}


def titles(found: dict[Evaluation, Cost]) -> dict[str, str]:
    """TITLES, in which the column of hours says whose time it is."""
    return TITLES | {"hours": clock(found)}


def clock(found: dict[Evaluation, Cost]) -> str:
    """The title of a column of hours: CPU time, GPU time, or Time where both were used, or nothing was trained."""
    devices = {cost.device for cost in found.values() if cost.device}
    return f"{devices.pop()} time" if len(devices) == 1 else "Time"


def _cost(p: Params, root: Path, one: Evaluation) -> Cost:
    counted = load_json(one.folder(root) / "cost.json")
    timed = load_json(root / "costs/evaluate" / one.benchmark / one.state / f"{one.name}.json")
    if one.name == STRIPES:
        return Cost(**counted, images=None, identities=None, steps=None, crops_seen=None, hours=None, device="",
                    latency=timed["milliseconds"])  # fmt: skip
    extra = read_json(root / "pretrain" / one.name).get("extra", {})
    brought = "weights" in extra  # somebody else has trained it, and what that cost is not known
    trained = [load_json(path) for path in _files(p, root, one)]
    hours = sum(part["seconds"] * part["processes"] for part in trained) / 3600
    return Cost(
        **counted,
        images=None if brought else extra.get("images", 0),
        identities=extra.get("identities"),
        steps=None if brought else extra["steps"],
        crops_seen=None if brought else extra["steps"] * extra["batch"],
        hours=None if brought else hours,
        device=" and ".join(sorted({DEVICES[part["device"]] for part in trained if part["seconds"]})),
        latency=timed["milliseconds"],
    )


def _files(p: Params, root: Path, one: Evaluation) -> list[Path]:
    """What pre-training and each run that the model has gone through have left of their time."""
    runs = [] if one.state == FROZEN else p.finetune.chain(one.state)
    folders = ["pretrain", *(f"finetune/{run}" for run in runs)]
    return [root / "costs" / folder / f"{one.name}.json" for folder in folders]
