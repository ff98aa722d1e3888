"""What re-parameterising gives RepViT and FastViT on a CPU: `python bench/reparameterised.py`.

Each model as trained and re-parameterised, in torch, as TorchScript and as ONNX in onnxruntime,
takes turns in one run; what is printed are medians and their ratio.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from cion_core import zoo
from cion_core.deploy import graphs

SIZE = (256, 128)
MODELS = [
    "repvit_m0_9",
    "repvit_m1_0",
    "repvit_m1_5",
    "fastvit_s12",
    "fastvit_sa12",
    "fastvit_sa24",
]


def onnx(model: torch.nn.Module, file: Path) -> graphs.Features:
    torch.onnx.export(
        model,
        (torch.zeros(2, 3, *SIZE),),
        file,
        dynamo=True,
        external_data=False,
        verbose=False,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=["images"],
        output_names=["features"],
    )
    return graphs.load_onnx(file)


def script(model: torch.nn.Module) -> torch.nn.Module:
    return torch.jit.freeze(torch.jit.trace(model, torch.zeros(2, 3, *SIZE), check_trace=False))


def turns(rules: dict[str, Callable], images: torch.Tensor, repeats: int) -> dict[str, float]:
    """Median milliseconds of each rule, called in turns."""
    times: dict[str, list[float]] = {name: [] for name in rules}
    for _ in range(repeats + 1):
        for name, rule in rules.items():
            start = time.perf_counter()
            rule(images)
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    print(
        f"batch {options.batch} of 256x128, {torch.get_num_threads()} threads; ms as trained, "
        "re-parameterised, ratio"
    )
    images = torch.randn(options.batch, 3, *SIZE)
    for name in options.models:
        trained = zoo.create_model(name, SIZE).eval()
        single = graphs.reparameterize_model(trained).eval()
        with (
            tempfile.TemporaryDirectory() as folder,
            graphs.silence_exporters(),
            torch.inference_mode(),
        ):
            rules = {"torch": trained, "torch, one branch": single}
            rules["script"], rules["script, one branch"] = script(trained), script(single)
            rules["onnx"] = onnx(trained, Path(folder) / "trained.onnx")
            rules["onnx, one branch"] = onnx(single, Path(folder) / "single.onnx")
            took = turns(rules, images, options.repeats)
        for runtime in ("torch", "script", "onnx"):
            before, after = took[runtime], took[f"{runtime}, one branch"]
            print(
                f"{name:14} {runtime:6} {before:8.1f} {after:8.1f} {before / after:6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
