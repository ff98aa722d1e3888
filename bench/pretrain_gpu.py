"""A step of pre-training, as published and ours, in under 8 minutes on a GPU.

python bench/pretrain_gpu.py

ResNet50-IBN, 120 crops a step as 2 + 8 views of 256x128 and 128x64, 65,536 outputs, K = 8; crops
are synthetic JPEGs in memory. (a) the published loop, written out: workers that make views with
torchvision on PIL, float16, the loss as a double loop over instances, gradients clipped while still
scaled, nothing compiled. (b) ours: workers that decode and draw, views and loss made on the GPU,
bfloat16, through the engine's own parts. Printed for each: crops a second (median step, after WARM
steps), memory, and where a step's time goes, measured with synchronisation in separate steps, so
the parts add up to a little more than the step. (b) is compiled unless `--no-compile` says
otherwise; its views are made a step ahead, so "data" is what is waited for. At a tiny size it runs
on a CPU.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from PIL import Image
from published_loss import literal
from torch.utils.data import DataLoader, Dataset
from views import crops as synthetic
from views import published

from cion_core import params, zoo
from cion_core.pretrain.methods.base import momentum_update, parameter_groups
from cion_core.pretrain.methods.cion import Cion
from cion_core.pretrain.settings import Pretrain
from cion_core.pretrain.view_batches import MEAN, STD, ViewBatches
from cion_core.runtime import Runtime
from cion_core.training.ahead import prepare_ahead
from cion_core.training.placing import place, should_compile
from cion_core.training.precision import Precision
from cion_core.training.sampler import IdentitySampler

WARM = 3  # steps that pay for caches, autotuning and compilation
PARTS = ("data", "forward", "loss", "backward and optimiser", "teacher follows")


class Jpegs:
    """What a crop store is to `ViewBatches`, in memory."""

    def __init__(self, count: int) -> None:
        self.files = [
            cv2.imencode(".jpg", image[..., ::-1])[1].tobytes() for image in synthetic(count)
        ]

    def __len__(self) -> int:
        return len(self.files)

    def read(self, row: int) -> np.ndarray:
        image = cv2.imdecode(np.frombuffer(self.files[row], np.uint8), cv2.IMREAD_COLOR)
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


class OnPil(Dataset):
    """Crops of the sampler's rows one by one, each as views of torchvision on PIL."""

    def __init__(self, store: Jpegs, kinds: list) -> None:
        self.store, self.make = store, [published(kind) for kind in kinds]

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, row: int) -> list[torch.Tensor]:
        image = Image.open(io.BytesIO(self.store.files[row])).convert("RGB")
        mean, std = (torch.tensor(of)[:, None, None] for of in (MEAN, STD))
        return [(make(image).float() / 255 - mean) / std for make in self.make]


class Parts:
    """Seconds of the parts of a step; with `split`, the device is waited for at the end of each."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.split, self.taken = device, False, {name: [] for name in PARTS}

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        if not self.split:
            yield
            return
        self.wait()
        begin = time.perf_counter()
        yield
        self.wait()
        self.taken[name].append(time.perf_counter() - begin)


def as_published(
    p: Pretrain, store: Jpegs, device: torch.device, parts: Parts, workers: int
) -> Callable[[], None]:
    """(a): a function that does one step."""
    learner = Cion(p, zoo.create_model(p.backbones[0], p.image), 1).to(device).train()
    student, teacher, loss = learner.student, learner.teacher, learner.loss
    optimizer = torch.optim.AdamW(parameter_groups(student), lr=p.cion.lr)
    precision = Precision("float16" if device.type == "cuda" else "float32", device)
    (_, instances), *_ = learner.phases
    rows = IdentitySampler(np.arange(len(store)) // 8, p.batch, learner.phases, 1 << 20, 0)

    def batches() -> Iterator[np.ndarray]:
        yield from (rows(step)[0].tolist() for step in range(1 << 20))

    loader = iter(
        DataLoader(OnPil(store, learner.view_kinds()), batch_sampler=batches(), num_workers=workers)
    )

    def step() -> None:
        with parts("data"):
            views = [view.to(device, non_blocking=True) for view in next(loader)]
        with precision.autocast():
            with parts("forward"):
                sizes = [views[:2], views[2:]] if len(views) > 2 else [views]
                features = torch.cat([student["backbone"](torch.cat(same)) for same in sizes])
                with torch.no_grad():
                    targets = teacher["head"](teacher["backbone"](torch.cat(views[:2])))
                logits = student["head"](features)
            with parts("loss"):
                value = literal(logits.float(), targets.float(), loss, instances)
                loss.center.lerp_(targets.float().mean(0), 0.1)
        value.item()
        with parts("backward and optimiser"):
            optimizer.zero_grad()
            precision.backward(value)
            for tensor in student.parameters():
                if tensor.grad is not None:
                    torch.nn.utils.clip_grad_norm_(tensor, p.clip * precision.scaler.get_scale())
            precision.scaler.step(optimizer)
            precision.scaler.update()
        with parts("teacher follows"):
            for theirs, ours in zip(teacher.parameters(), student.parameters(), strict=True):
                theirs.data.mul_(0.996).add_(0.004 * ours.detach().data)

    return step


def as_ours(
    p: Pretrain, store: Jpegs, device: torch.device, parts: Parts, runtime: Runtime
) -> Callable[[], None]:
    """(b): a function that does one step."""
    learner = Cion(p, zoo.create_model(p.backbones[0], p.image), 1)
    place(learner, device, runtime)
    optimizer, precision = learner.optimizer(), Precision("auto", device)
    sampler = IdentitySampler(np.arange(len(store)) // 8, p.batch, learner.phases, 1 << 20, 0)
    compiled, on_device = should_compile(runtime, device), device.type == "cuda"
    batches = ViewBatches(
        store, sampler, learner.view_kinds(), 0, on_device=on_device, compiled=compiled
    )
    items = batches.load(range(1 << 20), runtime.workers, device)
    loader = prepare_ahead(items, partial(batches.prepare, device=device), device)
    whole = learner.loss.loss_from_heads

    def timed(*given: object) -> torch.Tensor:  # the loss is inside the method's forward pass
        with parts("loss"):
            return whole(*given)

    learner.loss.loss_from_heads = timed

    def step() -> None:
        with parts("data"):
            item = next(loader)
        with parts("forward"), precision.autocast():
            value, _ = learner(item.views, item.instances, item.identities)
        with parts("backward and optimiser"):
            optimizer.zero_grad(set_to_none=True)
            precision.backward(value)
            precision.step(optimizer, precision.clip(optimizer, p.clip))
        with parts("teacher follows"):
            learner.loss.move_center()
            momentum_update(learner.teacher, learner.student, 0.996)

    return step


def settings(
    backbone: str, batch: int, instances: int, local_views: int, image: tuple[int, int], dim: int
) -> Pretrain:
    """The published section `pretrain`, at this size."""
    height, width = image
    values = params.read(Path(__file__).parents[1] / "params.yaml")["pretrain"]
    return Pretrain.model_validate(
        values
        | {
            "backbones": [backbone],
            "batch": batch,
            "image": (height, width),
            "local_image": (height // 2, width // 2),
            "local_views": local_views,
            "views": {
                "jitter": 0.8,
                "grey": 0.2,
                "blur": (1.0, 0.1, 0.5),
                "solarise": 0.2,
                "local_scale": (0.05, 0.8),
            },
            "head": {"out_dim": dim, "hidden": 2048, "bottleneck": 256, "batch_norm": False},
            "cion": {"lr": 0.0005 * batch / 256, "instances": [(0.0, instances)]},
            "tracklet": {"lr": 0.0005, "instances": [(0.0, instances)]},
        }
    )


def measured(
    make: Callable[[Parts], Callable[[], None]], device: torch.device, steps: int
) -> dict[str, float]:
    """Median seconds of a step and of its parts, and the most memory, GB (a GPU's; 0 on a CPU)."""
    parts = Parts(device)
    step = make(parts)
    for _ in range(WARM):
        step()
    parts.wait()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    taken = []
    for _ in range(steps):
        begin = time.perf_counter()
        step()
        parts.wait()
        taken.append(time.perf_counter() - begin)
    parts.split = True
    for _ in range(max(2, steps // 2)):
        step()
    split = {name: median(times) for name, times in parts.taken.items()}
    split["forward"] -= split["loss"] if make.__name__ == "ours" else 0.0
    memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
    return {"step": median(taken), "memory": memory, **split}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="resnet50_ibn")
    parser.add_argument("--batch", type=int, default=120)
    parser.add_argument("--instances", type=int, default=8)
    parser.add_argument("--local-views", type=int, default=8)
    parser.add_argument("--image", type=int, nargs=2, default=(256, 128))
    parser.add_argument("--dim", type=int, default=65_536)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    o = parser.parse_args()
    device, (height, width) = torch.device(o.device), o.image
    p = settings(o.backbone, o.batch, o.instances, o.local_views, o.image, o.dim)
    runtime = Runtime(workers=o.workers, compile=False if o.no_compile else "auto")
    store = Jpegs(max(8 * 40, o.batch))

    def literally(parts: Parts) -> Callable[[], None]:
        return as_published(p, store, device, parts, o.workers)

    def ours(parts: Parts) -> Callable[[], None]:
        return as_ours(p, store, device, parts, runtime)

    name = (
        torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads"
    )
    print(
        f"{name}; {o.backbone}, {o.batch} crops, 2 + {o.local_views} views of {height}x{width}, "
        f"D = {o.dim}, K = {o.instances}"
    )
    found = {
        "as published": measured(literally, device, o.steps),
        "ours": measured(ours, device, o.steps),
    }
    print(f"{'':14}{'crops/s':>9}{'GB':>7}" + "".join(f"{part:>25}" for part in PARTS))
    for form, numbers in found.items():
        shares = "".join(
            f"{1000 * numbers[part]:>18.0f} ms {numbers[part] / numbers['step']:>3.0%}"
            for part in PARTS
        )
        print(f"{form:14}{o.batch / numbers['step']:>9.1f}{numbers['memory']:>7.1f}{shares}")
    print(
        f"ours: {found['as published']['step'] / found['ours']['step']:.1f} times the crops a "
        "second"
    )


if __name__ == "__main__":
    main()
