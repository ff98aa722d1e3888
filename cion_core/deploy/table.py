"""The zoo as a table: what each backbone costs, what is here of it, and what was published of it."""

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

SIZE = (256, 128)  # height, width at which everything was published
RESULTS = ("market_map", "market_r1", "msmt_map", "msmt_r1")
NAMES = {
    "model": "Model", "structure": "Structure", "params": "Params (M)", "flops": "FLOPs (G)", "width": "Features",
    "latency": "CPU (ms)", "local": "Here", "market_map": "Market mAP", "market_r1": "R1", "msmt_map": "MSMT17 mAP",
    "msmt_r1": "R1",
}  # fmt: skip
HEAD = """\
# The zoo

Written by `cion zoo --markdown > docs/zoo.md`; do not edit it. Thirty-two backbones of ten structures, by name:

    from cion_core.zoo import create_model, load_weights
    model = create_model("resnet50_ibn", img_size=(256, 128))      # [B, 3, H, W] -> [B, model.num_features]
    load_weights(model, "ResNet50_IBN.pth")                        # ours, ReIDZoo's, or timm's ImageNet weights

Any other model of timm goes by its name there, with its pooled features.
"""
NOTES = """\
- **Params** and **features** are counted on the models as built here. The ViTs' include an unused classifier `fc`
  [1000, D], which is published with the weights; it is frozen.
- **FLOPs** are for one image of 256x128, as published: multiply-adds of convolutions, linear layers and attention,
  counted by torch's FlopCounterMode, plus 5 for each value that a norm layer puts out. With that they equal the
  published ones to 0.01. Without the norms' share the GhostNets would be 7 to 10 % below the published numbers.
- **Results** (%) are published ones, not measured here: fine-tuned with the TransReID recipe at 256x128, or with MGN at
  384x128. Source: the results figure of the CION_ReIDZoo repository (Zuo et al., NeurIPS 2024), kept in
  `cion_core/report/published/results.csv`.
- RepViT as published squeezes and excites in widths of multiples of 4 with a hard sigmoid. timm's has multiples of 8
  and a sigmoid: its ImageNet weights do not fit M0.9 and M1.0, and fit M1.5 only by coincidence of the widths.
- ViT's convolutional stem and ResNet-IBN have no counterpart in timm, so timm's ImageNet weights do not fit them.
- Position embeddings are added once. The facts measured on the published ViTs agree with that, and with nothing else.
"""


@dataclass(frozen=True)
class Row:
    """One backbone. `params` in millions, `flops` in billions at SIZE, `latency` in ms for one image on the CPU;
    `published` in percent, by the names of RESULTS; `local` the paths of its weights on this machine.
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
            "model": self.model, "structure": self.structure, "params": f"{self.params:.2f}",
            "flops": f"{self.flops:.2f}", "width": str(self.width),
            "latency": "" if self.latency is None else f"{self.latency:.1f}",
            "local": ", ".join(map(str, self.local)),
        }  # fmt: skip
        return shown | {name: f"{self.published[name]:.1f}" if self.published else "" for name in RESULTS}


def rows(models: Sequence[str] = names.ZOO, folder: Path | None = None, latency: bool = False) -> Iterable[Row]:
    """A row per model, of weights found below `folder`, timed if `latency`. CionError for an unknown name."""
    local = checkpoints(folder) if folder else {}
    for name in models:
        structure = next((key for key, members in names.STRUCTURES.items() if name in members), "timm")
        params, flops, width = cost(name)
        took = milliseconds(name) if latency else None
        yield Row(name, structure, params, flops, width, results().get(name, {}), local.get(name, ()), took)


def cost(name: str) -> tuple[float, float, int]:
    """Parameters in millions, FLOPs in billions at SIZE, and the width of a feature; nothing is computed for it."""
    with torch.device("meta"):
        model = zoo.create_model(name, SIZE)
    found = counted(model, SIZE)
    return found["parameters"] / 1e6, found["flops"] / 1e9, model.num_features


def milliseconds(name: str, repeats: int = 5) -> float:
    """The median time of one image of SIZE on this machine's CPU."""
    model, image = zoo.create_model(name, SIZE).eval(), torch.zeros(1, 3, *SIZE)
    times = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            model(image)
            times.append(time.perf_counter() - start)
    return 1000 * sorted(times[1:])[repeats // 2]


def checkpoints(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Backbone to what is below `folder`: model folders by their card, other weights by their file's name."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*")):
        if path.is_dir() and (path / "model.safetensors").is_file():
            try:
                found.setdefault(cards.read(path).backbone, []).append(path)
            except CionError:
                continue  # somebody else's folder
        elif path.suffix in (".pth", ".pt", ".safetensors"):
            plain = path.stem.lower().replace("-", "_").replace(".", "_")
            # The longest name that fits: resnet50_ibn.pth is no resnet50.
            fitting = [name for name in zoo.list_models() if plain == name or plain.startswith(f"{name}_")]
            if fitting:
                found.setdefault(max(fitting, key=len), []).append(path)
    return {name: tuple(paths) for name, paths in found.items()}


def text(table: Sequence[Row]) -> str:
    """For a terminal: columns that say nothing are left out."""
    cells = [row.cells() for row in table]
    columns = [key for key in NAMES if any(row.get(key) for row in cells)]
    return _table([NAMES[key] for key in columns], [[row[key] for key in columns] for row in cells], "plain")


def markdown(table: Sequence[Row]) -> str:
    """docs/zoo.md: only what is the same on every machine."""
    columns = [key for key in NAMES if key not in ("latency", "local")]
    lines = _table([NAMES[key] for key in columns], [[row.cells()[key] for key in columns] for row in table])
    mgn = {name: values for name, values in results().items() if name not in names.ZOO}
    keys = ("params_m", "flops_g", *RESULTS)
    other = _table(
        ["Model", "Params (M)", "FLOPs (G)", *(NAMES[key] for key in RESULTS)],
        [[name, *(f"{values[k]:.{2 if k in keys[:2] else 1}f}" for k in keys)] for name, values in mgn.items()],
    )
    return "\n".join((HEAD, lines, "", "As published, with MGN at 384x128:", "", other, "", NOTES))


def _table(head: list[str], lines: list[list[str]], form: str = "github") -> str:
    return tabulate(lines, head, tablefmt=form, disable_numparse=True)
