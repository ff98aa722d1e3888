"""The comparison as the page shows it, benchmark by benchmark: tables, verdicts, what runs gave, plots."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cion_core.project import Params
from cion_core.report import certain, costs, efficiency, published
from cion_core.report.comparison import OWN, TRANSFERRED, Evaluation, load_json, shown
from cion_core.report.costs import Cost
from cion_core.report.differences import Difference, Sure, sentence
from cion_core.report.plots import Styles
from cion_core.report.published import Published
from cion_core.zoo.card import FROZEN

COLUMNS = ("mAP", "rank1")  # of each state in the table; all SCORES stand below it
UP, DOWN = "▴", "▾"
DONE = {  # what a run did, by its setting; the recipe stands before it
    "frozen": "as pre-training left it",
    "finetuned": "fine-tuned on {source}",
    "unsupervised": "without labels, on {source}",
    "adapted": "adapted without labels, {source}",
    TRANSFERRED: "trained on {source} alone",
}


@dataclass(frozen=True)
class State:
    """What was done to the models of a group of columns: `frozen` or a run; `before`: what the run began with."""

    name: str
    recipe: str
    done: str
    before: str
    away: bool  # trained for other benchmarks alone


@dataclass(frozen=True)
class Cell:
    """One score, the interval that it is in (None where there is none), and UP or DOWN where it differs from CION's."""

    value: float
    best: bool
    low: float | None
    high: float | None
    mark: str


@dataclass(frozen=True)
class Line:
    """One model: a cell for each of COLUMNS of each state, and what each run gave it; None where nothing is known.

    saw: `costs.SAW` of its pre-training, for people.
    """

    method: str
    backbone: str
    about: str
    cells: list[list[Cell | None]]
    gave: list[Difference | None]
    saw: list[str]


@dataclass(frozen=True)
class Told:
    """All that the page says of one benchmark.

    Attributes:
        about: its benchmark.json.
        rows: every row of it, those included that the table leaves out, each with its cost, for people by
            `costs.TITLES`.
        efficiency: mAP against what a model costs, where there are several backbones; else empty.
        set, published: which of `published.SETS` it is, and what was published on it, each with ours; else empty.
        verdicts: (a state, how CION stands among the others in it).
        cameras, searched: the pairs of cameras as HTML, and the row that they are of.
    """

    about: dict
    states: list[State]
    lines: list[Line]
    rows: list[tuple[dict, list[str]]]
    verdicts: list[tuple[str, str]]
    forest: str
    cameras: str
    searched: dict
    efficiency: str
    set: str
    published: list[tuple[Published, str]]


def told(
    p: Params,
    root: Path,
    rows: list[dict],
    sure: Sure,
    found: dict[Evaluation, Cost],
    methods: dict[str, dict],
    drawn: Styles,
) -> list[Told]:
    """What the page says of each benchmark, in their order. methods: as `comparison.described`."""
    visible, out = shown(rows), []
    for name in p.benchmark.sources:
        mine = ([row for row in of if row["benchmark"] == name] for of in (rows, visible))
        out.append(_one(p, root, *mine, sure, found, methods, drawn))
    return out


def headline(rows: list[dict]) -> dict | None:
    """CION's first row: frozen, on the first benchmark and backbone."""
    return next((row for row in rows if row["method"] == OWN and row["run"] == FROZEN), None)


def rivals(rows: list[dict], sure: Sure) -> list[tuple[str, Difference]]:
    """The other methods beside the headline, the nearest first."""
    if (own := headline(rows)) is None:
        return []
    one = Evaluation.of(own)
    found = [(row["method"], sure.beside.get(Evaluation.of(row))) for row in rows]
    return sorted(((name, d) for name, d in found if d is not None and d.one == one), key=lambda pair: pair[1].by)


def searches(p: Params, root: Path, rows: list[dict], drawn: Styles) -> dict[str, str]:
    """TPIR against FPIR on the first benchmark, frozen and after the first run there, by the state's name.

    Of the models of the first backbone, and of features that need none.
    """
    benchmark, backbone = next(iter(p.benchmark.sources)), p.pretrain.backbones[0]
    of = [row for row in shown(rows) if row["benchmark"] == benchmark and row["backbone"] in (backbone, "none")]
    found = {}
    for state in list(dict.fromkeys(row["run"] for row in of))[:2]:
        models = {row["method"]: Evaluation.of(row).folder(root) for row in of if row["run"] == state}
        curves = {name: load_json(folder / "search.json")["identification"] for name, folder in models.items()}
        found[state] = certain.open_set(curves, drawn)
    return found


def done(row: dict) -> str:
    """What was done to the model of a row, in words: fine-tuned on demo."""
    return DONE[row["setting"]].format(source=row["source"])


def _one(
    p: Params,
    root: Path,
    rows: list[dict],
    visible: list[dict],
    sure: Sure,
    found: dict[Evaluation, Cost],
    methods: dict[str, dict],
    drawn: Styles,
) -> Told:
    """One benchmark: all its rows, and those that a person is shown."""
    by = {(row["run"], row["method"], row["backbone"]): row for row in visible}
    states = [
        _state(p, row) for row in {row["run"]: row for row in visible}.values()
    ]  # all of a run say the same of it
    best = {
        (state.name, score): max(row[score] for row in visible if row["run"] == state.name)
        for state in states
        for score in COLUMNS
    }
    lines = []
    for method, backbone in dict.fromkeys((row["method"], row["backbone"]) for row in visible):
        of = [by.get((state.name, method, backbone)) for state in states]
        cells = [
            [_cell(row, score, row[score] == best[row["run"], score], sure) if row else None for score in COLUMNS]
            for row in of
        ]
        gave = [sure.gave.get(Evaluation.of(row)) if row else None for row in of]
        first = found[Evaluation.of(by[FROZEN, method, backbone])]
        saw = [costs.told(first, name) for name in costs.SAW]
        lines.append(Line(method, backbone, methods[method]["about"], cells, gave, saw))
    searched = max(visible, key=lambda row: (row["method"] == OWN, row["mAP"]))
    pairs = load_json(Evaluation.of(searched).folder(root) / "cameras.json")
    about = load_json(root / "benchmark" / rows[0]["benchmark"] / "benchmark.json")
    known = published.recognised(about)
    others = published.of(known, p.pretrain.backbones) if known else []
    return Told(
        about=about,
        states=states,
        lines=lines,
        rows=[(row, [costs.told(found[Evaluation.of(row)], name) for name in costs.TITLES]) for row in rows],
        verdicts=_verdicts(visible, sure),
        forest=certain.forest([_whisker(row, sure) for row in visible], drawn),
        cameras=certain.cameras(pairs),
        searched=searched,
        efficiency=efficiency.picture(visible, found, drawn),
        set=published.SETS[known] if known else "",
        published=[(one, published.ours(one, visible)) for one in others],
    )


def _state(p: Params, row: dict) -> State:
    name = row["run"]
    before = "" if name == FROZEN else p.finetune.runs[name].before or FROZEN
    return State(name, row["recipe"], done(row), before, row["setting"] == TRANSFERRED)


def _cell(row: dict, score: str, best: bool, sure: Sure) -> Cell:
    one = Evaluation.of(row)
    known, difference = sure.scores[one][score], sure.beside.get(one)
    mark = ""
    if score == "mAP" and difference is not None and difference.real:
        mark = DOWN if difference.by > 0 else UP
    return Cell(row[score], best, known["low"], known["high"], mark)


def _verdicts(rows: list[dict], sure: Sure) -> list[tuple[str, str]]:
    """How CION stands in each state that was meant for the benchmark, on each backbone."""
    own = [row for row in rows if row["method"] == OWN and row["setting"] != TRANSFERRED]
    several = len({row["backbone"] for row in own}) > 1
    names = {Evaluation.of(row): row["method"] for row in rows}
    found = []
    for row in own:
        beside = [difference for difference in sure.beside.values() if difference.one == Evaluation.of(row)]
        if beside:
            found.append((f"{row['run']}, {row['backbone']}" if several else row["run"], sentence(beside, names)))
    return found


def _whisker(row: dict, sure: Sure) -> dict:
    """A row of the forest plot."""
    known = sure.scores[Evaluation.of(row)]["mAP"]
    title = row["run"] if row["run"] == FROZEN else f"{row['run']}: {row['recipe']}, {done(row)}"
    return {
        "method": row["method"], "backbone": row["backbone"], "state": row["run"], "title": title,
        "value": row["mAP"], "low": known["low"], "high": known["high"],
    }  # fmt: skip
