"""The zoo as a table: what each backbone costs, its weights here, and what was published of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tabulate import tabulate

from cion_core import zoo
from cion_core.errors import CionError
from cion_core.evaluate.cost import counted
from cion_core.report.published import results
from cion_core.zoo import card as cards
from cion_core.zoo import names

# Height and width in pixels, at which everything was published.
SIZE = (256, 128)
# Runs of one image by which its time is measured, after one more that warms the model up.
TIMED_RUNS = 5
PUBLISHED_RESULTS = ("market_map", "market_r1", "msmt_map", "msmt_r1")
# The columns, and what each is called.
COLUMNS = {
    "model": "Model",
    "structure": "Structure",
    "params": "Params (M)",
    "flops": "FLOPs (G)",
    "width": "Features",
    "latency": "CPU (ms)",
    "local": "Here",
    "market_map": "Market mAP",
    "market_r1": "R1",
    "msmt_map": "MSMT17 mAP",
    "msmt_r1": "R1",
}
# Columns that are not the same on every machine.
OF_THIS_MACHINE = ("latency", "local")
WEIGHTS_SUFFIXES = (".pth", ".pt", ".safetensors")
HEAD = """\
# The zoo

Written by `cion zoo --markdown > docs/zoo.md`; do not edit it. Thirty-two backbones of ten
structures, by name:

    from cion_core.zoo import create_model, load_weights
    # [B, 3, H, W] -> [B, model.num_features]
    model = create_model("resnet50_ibn", img_size=(256, 128))
    # Ours, ReIDZoo's, or timm's ImageNet weights.
    load_weights(model, "ResNet50_IBN.pth")

Any other model of timm goes by its name there, with its pooled features.
"""
NOTES = """\
- **Params** and **features** are counted on the models as built here. The ViTs' include an unused
  classifier `fc` [1000, D], which is published with the weights; it is frozen.
- **FLOPs** are for one image of 256x128, as published: multiply-adds of convolutions, linear layers
  and attention, counted by torch's FlopCounterMode, plus 5 for each value that a norm layer puts
  out. With that they equal the published ones to 0.01. Without the norms' share the GhostNets would
  be 7 to 10 % below the published numbers.
- **Results** (%) are published ones, not measured here: fine-tuned with the TransReID recipe at
  256x128, or with MGN at 384x128. Source: the results figure of the CION_ReIDZoo repository (Zuo et
  al., NeurIPS 2024), kept in `cion_core/report/published/results.csv`.
- RepViT as published squeezes and excites in widths of multiples of 4 with a hard sigmoid. timm's
  has multiples of 8 and a sigmoid: its ImageNet weights do not fit M0.9 and M1.0, and fit M1.5 only
  by coincidence of the widths.
- ViT's convolutional stem and ResNet-IBN have no counterpart in timm, so timm's ImageNet weights do
  not fit them.
- Position embeddings are added once. The facts measured on the published ViTs agree with that, and
  with nothing else.
"""


@dataclass(frozen=True)
class BackboneRow:
    """One backbone.

    Attributes:
        model: its name.
        structure: of the zoo, or "timm".
        params: in millions.
        flops: in billions, for one image of SIZE.
        width: of a feature.
        published: in percent, by the names of PUBLISHED_RESULTS; empty where nothing was published.
        local: the paths of its weights on this machine.
        latency: milliseconds for one image on this machine's CPU, where it was measured.
    """

    model: str
    structure: str
    params: float
    flops: float
    width: int
    published: dict[str, float]
    local: tuple[Path, ...] = ()
    latency: float | None = None

    def cells(self) -> dict[str, str]:
        """What each column shows."""
        shown = {
            "model": self.model,
            "structure": self.structure,
            "params": f"{self.params:.2f}",
            "flops": f"{self.flops:.2f}",
            "width": str(self.width),
            "latency": "" if self.latency is None else f"{self.latency:.1f}",
            "local": ", ".join(map(str, self.local)),
        }
        for name in PUBLISHED_RESULTS:
            shown[name] = f"{self.published[name]:.1f}" if self.published else ""
        return shown


def describe_backbones(
    models: Sequence[str] = names.ZOO,
    folder: Path | None = None,
    with_latency: bool = False,
) -> Iterable[BackboneRow]:
    """A row per model.

    Args:
        models: names of backbones.
        folder: where to look for weights.
        with_latency: whether to time them.

    Raises:
        CionError: there is no such backbone.
    """
    weights = find_weights(folder) if folder else {}
    for name in models:
        params, flops, width = count_cost(name)
        yield BackboneRow(
            name,
            _find_structure(name),
            params,
            flops,
            width,
            results().get(name, {}),
            weights.get(name, ()),
            measure_latency(name) if with_latency else None,
        )


def _find_structure(name: str) -> str:
    """The zoo's structure that a backbone belongs to, else "timm"."""
    for structure, members in names.STRUCTURES.items():
        if name in members:
            return structure
    return "timm"


def count_cost(name: str) -> tuple[float, float, int]:
    """Parameters in millions, FLOPs in billions at SIZE, and the width of a feature."""
    # A model on torch's device "meta" has shapes and no numbers, so nothing is computed.
    with torch.device("meta"):
        model = zoo.create_model(name, SIZE)
    cost = counted(model, SIZE)
    return cost["parameters"] / 1e6, cost["flops"] / 1e9, model.num_features


def measure_latency(name: str) -> float:
    """The median time of one image of SIZE on this machine's CPU, in milliseconds."""
    model = zoo.create_model(name, SIZE).eval()
    image = torch.zeros(1, 3, *SIZE)
    times = []
    with torch.inference_mode():
        for _ in range(1 + TIMED_RUNS):
            start = time.perf_counter()
            model(image)
            times.append(time.perf_counter() - start)
    warm_times = sorted(times[1:])
    return 1000 * warm_times[TIMED_RUNS // 2]


def find_weights(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Find weights of backbones in a folder.

    Args:
        folder: holds model folders, which are known by their card, and files of weights, which are
            known by their name.

    Returns:
        {backbone: paths}.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*")):
        backbone = None
        if path.is_dir() and (path / "model.safetensors").is_file():
            backbone = _read_backbone(path)
        elif path.suffix in WEIGHTS_SUFFIXES:
            backbone = _guess_backbone(path.stem)
        if backbone is not None:
            found.setdefault(backbone, []).append(path)
    return {backbone: tuple(paths) for backbone, paths in found.items()}


def _read_backbone(folder: Path) -> str | None:
    """The backbone by a model folder's card; None where the folder is somebody else's."""
    try:
        return cards.read(folder).backbone
    except CionError:
        return None


def _guess_backbone(stem: str) -> str | None:
    """The backbone that a file's name begins with; the longest, for resnet50_ibn is no resnet50."""
    plain = stem.lower().replace("-", "_").replace(".", "_")
    fitting = []
    for name in zoo.list_models():
        if plain == name or plain.startswith(f"{name}_"):
            fitting.append(name)
    return max(fitting, key=len, default=None)


def to_text(rows: Sequence[BackboneRow]) -> str:
    """The table for a terminal; columns that say nothing are left out."""
    cells = [row.cells() for row in rows]
    columns = [column for column in COLUMNS if any(row[column] for row in cells)]
    return _make_table(columns, cells, "plain")


def to_markdown(rows: Sequence[BackboneRow]) -> str:
    """docs/zoo.md: only what is the same on every machine."""
    columns = [column for column in COLUMNS if column not in OF_THIS_MACHINE]
    table = _make_table(columns, [row.cells() for row in rows], "github")

    # Published results of models that are not of the zoo: backbones with MGN.
    others = []
    for name, values in results().items():
        if name not in names.ZOO:
            cells = {
                "model": name,
                "params": f"{values['params_m']:.2f}",
                "flops": f"{values['flops_g']:.2f}",
            }
            cells |= {key: f"{values[key]:.1f}" for key in PUBLISHED_RESULTS}
            others.append(cells)
    other_columns = ["model", "params", "flops", *PUBLISHED_RESULTS]
    other_table = _make_table(other_columns, others, "github")

    between = "As published, with MGN at 384x128:"
    return "\n".join((HEAD, table, "", between, "", other_table, "", NOTES))


def _make_table(columns: Sequence[str], rows: Sequence[dict[str, str]], style: str) -> str:
    """A table of some columns; `style` is tabulate's."""
    head = [COLUMNS[column] for column in columns]
    lines = [[row[column] for column in columns] for row in rows]
    return tabulate(lines, head, tablefmt=style, disable_numparse=True)
