"""A model as a folder that the Hugging Face hub takes as it is, and that `create_model("hf:ORG/NAME")` loads."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData
from tabulate import tabulate
from torch import nn

from cion_core import work, zoo
from cion_core.zoo import Card

SHOWN = ("mAP", "rank1", "mINP")  # of a benchmark's metrics, in percent
ACCURACY = {"rank1": "accuracy"}  # the hub's names of metrics, where it has one
TEXT = """
# {name}

A backbone for person re-identification: an image of a person goes in, {width} numbers come out.
Images of one person have near features, by their cosine.

| | |
| --- | --- |
| backbone | {backbone} |
| trained by | {method} |
| image | {height} x {width_px} pixels (height x width), RGB |
| mean | {mean} |
| std | {std} |

## Use

```python
import torch
from cion_core import zoo

model, card = zoo.load("FOLDER")                       # or zoo.create_model("hf:ORG/{name}")
features = model.eval()(zoo.to_tensor(images, card))   # images: RGB uint8 [H, W, 3] of any sizes
features = torch.nn.functional.normalize(features, dim=1)
```

`cion embed`, `cion search` and `cion denoise --crops` take `--model hf:ORG/{name}`.

## Results

{results}

## Data

{data}

## Intended use

Research on person re-identification; search for a person among images that you may lawfully search,
with a human who decides. Not for deciding about people without a human, nor for watching people
without their consent or a legal basis.

## Limits

- It compares clothes and build more than faces: who changes clothes is mostly not found again.
- Results hold for cameras, light and people like those of the benchmarks above; elsewhere they are
  lower. Measure on your own.
- Likeness differs between groups of people, of clothes and of light; nothing was measured of that here.
- Whether anybody is there at all is another question than who is nearest: learn a threshold for that
  (`cion export --benchmark`).

## Licence

{licence}
"""


def write(network: nn.Module, card: Card, out: Path) -> None:
    """Write README.md (the hub's model card), config.json, card.json and model.safetensors into a new folder.

    Args:
        network: in eval mode, on the CPU.
        card: with its name and, as far as they are known, licence, data, revision and metrics.
        out: the folder, written whole or not at all; one that is there is replaced.
    """
    with work.replaced(out) as temporary:
        zoo.save(temporary, network, card)
        work.write_json(temporary / "config.json", config(card))
        (temporary / "README.md").write_text(readme(card))


def config(card: Card) -> dict:
    """What the hub and its libraries look for in a config.json; `card.json` beside it is the whole."""
    return {
        "library_name": "cion",
        "architecture": card.backbone,
        "num_features": card.num_features,
        "num_classes": 0,
        "pretrained_cfg": {
            "input_size": [3, *card.image],
            "mean": list(card.mean),
            "std": list(card.std),
        },
    }


def readme(card: Card) -> str:
    """The model card: YAML for machines, then Markdown for people."""
    about = ModelCardData(
        license=card.licence.lower() or "unknown",
        library_name="cion",
        pipeline_tag="image-feature-extraction",
        tags=["person-re-identification", "cion", card.backbone],
        model_name=card.name,
        eval_results=scores(card),
    )
    text = TEXT.format(
        name=card.name, width=card.num_features, backbone=card.backbone, method=card.method,
        height=card.image[0], width_px=card.image[1], mean=", ".join(map(str, card.mean)),
        std=", ".join(map(str, card.std)), results=results(card), data=data(card),
        licence=card.licence or "Not said by who exported it. Ask before you use it.",
    )  # fmt: skip
    return f"---\n{about.to_yaml()}\n---\n{text}"


def scores(card: Card) -> list[EvalResult] | None:
    """The card's metrics as the hub lists them; None where there are none."""
    found = [
        EvalResult(
            task_type="image-feature-extraction", dataset_type=benchmark, dataset_name=benchmark,
            metric_type=ACCURACY.get(metric, metric), metric_name=metric, metric_value=round(values[metric], 2),
        )
        for benchmark, values in card.metrics.items() for metric in SHOWN if metric in values
    ]  # fmt: skip
    return found or None


def results(card: Card) -> str:
    """The metrics as a table."""
    if not card.metrics:
        return "None were measured before the export."
    rows = [
        [benchmark, *(f"{values[metric]:.1f}" if metric in values else "" for metric in SHOWN)]
        for benchmark, values in card.metrics.items()
    ]
    table = tabulate(rows, ["benchmark", *SHOWN], tablefmt="github", disable_numparse=True)
    return f"{table}\n\nIn percent, by Market-1501's protocol, on the benchmarks of the project that trained it."


def data(card: Card) -> str:
    """Where the weights come from, as far as the card tells."""
    lines = [f"Method: {card.method}."]
    if "weights" in card.extra:
        lines.append(f"The weights were brought from {card.extra['weights'].get('source', 'elsewhere')}.")
    if card.data:
        lines.append(f"A hash of the data that it was trained on: `{card.data}`. The data are not part of this folder.")
    if card.revision:
        lines.append(f"The revision of code and data: `{card.revision}`.")
    return "\n".join(lines)
