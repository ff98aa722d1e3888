"""A model as a folder that the Hugging Face hub takes as it is.

`create_model("hf:ORG/NAME")` loads it from there.
"""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData
from tabulate import tabulate
from torch import nn

from cion_core import work, zoo
from cion_core.zoo import Card

# Those of a benchmark's metrics that are shown, in percent.
SHOWN_METRICS = ("mAP", "rank1", "mINP")
# The hub's names of metrics, where it has one.
HUB_NAMES = {"rank1": "accuracy"}
TASK = "image-feature-extraction"
DATA_NOTE = "The data are not part of this folder."
TEXT = """
# {name}

A backbone for person re-identification: an image of a person goes in, {dim} numbers come out.
Images of one person have near features, by their cosine.

| | |
| --- | --- |
| backbone | {backbone} |
| trained by | {method} |
| image | {height} x {width} pixels (height x width), RGB |
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
- Likeness differs between groups of people, of clothes and of light. Nothing was measured of that
  here.
- Whether anybody is there at all is another question than who is nearest: learn a threshold for
  that (`cion export --benchmark`).

## Licence

{licence}
"""


def write_folder(network: nn.Module, card: Card, out: Path) -> None:
    """Write README.md (the hub's model card), config.json, card.json and model.safetensors.

    Args:
        network: in eval mode, on the CPU.
        card: with its name and, as far as they are known, licence, data, revision and metrics.
        out: the folder, written whole or not at all; one that is there is replaced.
    """
    with work.replaced(out) as temporary:
        zoo.save(temporary, network, card)
        work.write_json(temporary / "config.json", _describe_config(card))
        (temporary / "README.md").write_text(make_readme(card), encoding="utf-8")


def make_readme(card: Card) -> str:
    """The model card: YAML for machines, then Markdown for people."""
    metadata = ModelCardData(
        license=card.licence.lower() or "unknown",
        library_name="cion",
        pipeline_tag=TASK,
        tags=["person-re-identification", "cion", card.backbone],
        model_name=card.name,
        eval_results=_list_results(card),
    )
    height, width = card.image
    text = TEXT.format(
        name=card.name,
        dim=card.num_features,
        backbone=card.backbone,
        method=card.method,
        height=height,
        width=width,
        mean=", ".join(map(str, card.mean)),
        std=", ".join(map(str, card.std)),
        results=_make_results_table(card),
        data=_describe_data(card),
        licence=card.licence or "Not said by who exported it. Ask before you use it.",
    )
    return f"---\n{metadata.to_yaml()}\n---\n{text}"


def _describe_config(card: Card) -> dict:
    """What the hub and its libraries look for in a config.json; card.json beside it has all."""
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


def _list_results(card: Card) -> list[EvalResult] | None:
    """The card's metrics as the hub lists them; None where there are none."""
    results = []
    for benchmark, values in card.metrics.items():
        for metric in SHOWN_METRICS:
            if metric in values:
                result = EvalResult(
                    task_type=TASK,
                    dataset_type=benchmark,
                    dataset_name=benchmark,
                    metric_type=HUB_NAMES.get(metric, metric),
                    metric_name=metric,
                    metric_value=round(values[metric], 2),
                )
                results.append(result)
    return results or None


def _make_results_table(card: Card) -> str:
    """The metrics as a table in Markdown."""
    if not card.metrics:
        return "None were measured before the export."
    rows = []
    for benchmark, values in card.metrics.items():
        row = [benchmark]
        for metric in SHOWN_METRICS:
            row.append(f"{values[metric]:.1f}" if metric in values else "")
        rows.append(row)
    head = ["benchmark", *SHOWN_METRICS]
    table = tabulate(rows, head, tablefmt="github", disable_numparse=True)
    how = "by Market-1501's protocol, on the benchmarks of the project that trained it"
    return f"{table}\n\nIn percent, {how}."


def _describe_data(card: Card) -> str:
    """Where the weights come from, as far as the card tells."""
    lines = [f"Method: {card.method}."]
    if "weights" in card.extra:
        source = card.extra["weights"].get("source", "elsewhere")
        lines.append(f"The weights were brought from {source}.")
    if card.data:
        lines.append(f"A hash of the data that it was trained on: `{card.data}`. {DATA_NOTE}")
    if card.revision:
        lines.append(f"The revision of code and data: `{card.revision}`.")
    return "\n".join(lines)
