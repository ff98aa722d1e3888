"""What must be right on a GPU: the checks of gpu_check.py that are no measurements of speed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from gpu_check import Check, Sizes
from pretrain_gpu import Jpegs, settings
from torch.nn import functional as F

from cion_core import zoo
from cion_core.pretrain import views_on_cpu, views_on_device
from cion_core.pretrain.losses import IdentityGuidedLoss
from cion_core.pretrain.methods import METHODS
from cion_core.pretrain.methods.cion import Cion
from cion_core.pretrain.view_batches import ViewBatches
from cion_core.pretrain.views import draw_parameters
from cion_core.runtime import Runtime
from cion_core.training import ranks
from cion_core.training.checkpoint import Checkpoints
from cion_core.training.loop import train
from cion_core.training.sampler import IdentitySampler
from cion_core.zoo.names import STRUCTURES

STEPS = 50  # of the runs that are killed or shared out
# The methods whose steps are searched for what waits for the device.
WAITED_FOR = ("cion", "lup", "pnl")


def rows_of(
    sizes: Sizes,
    backbone: str,
    folder: Path,
    steps: int,
    runtime: Runtime,
    image: tuple[int, int],
    method: str = "cion",
) -> Iterator[dict[str, float]]:
    """The history of a small training on this device; it resumes if `folder` has a checkpoint."""
    torch.manual_seed(0)
    p = settings(backbone, 16, 4, 2, image, 256)
    store = Jpegs(64)
    learner = METHODS.named(method)(p, zoo.create_model(backbone, image), 8)
    sampler = IdentitySampler(np.arange(len(store)) // 8, p.batch, learner.phases, steps, 0)
    on_device = sizes.device.type == "cuda"
    batches = ViewBatches(
        store, sampler, learner.view_kinds(), 0, ranks.rank(), ranks.size(), on_device
    )
    return train(learner, batches, steps, sizes.device, Checkpoints(folder), runtime)


def loss_in_bfloat16(sizes: Sizes) -> str:
    """The loss and its gradients against float64 on the CPU, where a network has converged."""
    views, crops, instances, dim, width = 4, 16, 4, 4096, 256
    generator = torch.Generator().manual_seed(0)

    def unit(*shape: int) -> torch.Tensor:
        return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64))

    prototypes = F.normalize(
        unit(dim // 8, width).repeat_interleave(8, 0) + 0.25 * unit(dim, width)
    )
    seen = prototypes[
        torch.randint(0, dim, (crops // instances,), generator=generator).repeat_interleave(
            instances
        )
    ]
    near = F.normalize(seen.repeat(views, 1) + unit(views * crops, width))
    teacher = F.normalize(seen.repeat(2, 1) + unit(2 * crops, width))

    def gradients(dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, ...]:
        form = IdentityGuidedLoss(dim, views).to(device, dtype).eval()
        s, p, t = (x.to(device, dtype) for x in (near, prototypes, teacher))
        s, p = s.requires_grad_(), p.requires_grad_()
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.float32):
            value = form.loss_from_heads(s, p, t, p.detach(), instances)
        return value, *torch.autograd.grad(value, (s, p))

    exact = gradients(torch.float64, torch.device("cpu"))
    found = gradients(torch.float32, sizes.device)
    wrong = [((a.cpu() - b).norm() / b.norm()).item() for a, b in zip(found, exact, strict=True)]
    assert max(wrong) < 0.005, wrong
    value, of_student, of_prototypes = (f"{100 * share:.2f} %" for share in wrong)
    return (
        f"the loss is off by {value}, its gradients by {of_student} (student) and {of_prototypes} "
        "(prototypes)"
    )


def views_as_opencv(sizes: Sizes) -> str:
    """Views on the device against OpenCV's of the same draws."""
    p = settings(sizes.backbone, 8, 4, 2, sizes.image, 64)
    kinds, store = Cion(p, zoo.create_model(sizes.backbone, sizes.image), 1).view_kinds(), Jpegs(8)
    crops = [
        views_on_cpu.shrink_to_fit(store.read(row), (2 * sizes.image[0], 2 * sizes.image[1]))
        for row in range(8)
    ]
    drawn = draw_parameters(
        [crop.shape[:2] for crop in crops],
        kinds,
        [np.random.default_rng(row) for row in range(8)],
    )
    batch = torch.from_numpy(
        views_on_device.pad_crops(crops, (2 * sizes.image[0], 2 * sizes.image[1]))
    ).to(sizes.device)
    numbers = torch.from_numpy(views_on_device.pack_parameters(drawn)).float().to(sizes.device)
    plain = torch.tensor([[0.0] * 3, [1.0] * 3, views_on_cpu.FILL], device=sizes.device)
    made = (
        views_on_device.make_views(batch, numbers[:, :2], kinds[0].size, plain)
        .permute(1, 0, 3, 4, 2)
        .cpu()
        .numpy()
    )
    wrong = [
        np.abs(view - views_on_cpu.make_view(crop, kind, single))
        for crop, singles, views in zip(crops, drawn.per_view(), made, strict=True)
        for kind, single, view in zip(kinds[:2], singles[:2], views, strict=True)
    ]
    mean, most = (
        np.mean([each.mean() for each in wrong]),
        np.mean([np.quantile(each, 0.99) for each in wrong]),
    )
    assert mean < 0.8 and most < 5, (mean, most)
    return f"mean difference {mean:.2f} of 255, 99 of 100 pixels within {most:.1f}"


def no_waits(sizes: Sizes) -> str:
    """Steps of the real loop by each kind of method, which must not wait for the device.

    CUDA calls whatever waits an error.
    """
    runtime = Runtime(compile=False, checkpoint_every=1000)
    for method in WAITED_FOR:
        with tempfile.TemporaryDirectory() as folder:
            rows = rows_of(sizes, "resnet10_ibn", Path(folder), 12, runtime, (64, 32), method)
            for _ in range(4):
                next(rows)
            torch.cuda.set_sync_debug_mode("error")
            try:
                for _ in range(4):
                    next(rows)
            finally:
                torch.cuda.set_sync_debug_mode("default")
    return f"4 steps without one by {', '.join(WAITED_FOR)}"


def structures(sizes: Sizes) -> str:
    """One step of fine-tuning and one of embedding, of a backbone of each structure."""
    from cion_core.finetune.recipes import RECIPES

    part = RECIPES.named("bag_of_tricks")
    given = {
        "image": sizes.image,
        "epochs": 1,
        "batch": 8,
        "instances": 2,
        "lr": 0.01,
        "warmup": 0.2,
    }
    people = np.repeat(np.arange(4), 2)
    for name in (
        ("resnet18", "ghostnet_0_5") if sizes.tiny else [names[0] for names in STRUCTURES.values()]
    ):
        backbone, recipe = (
            zoo.create_model(name, sizes.image),
            part(part.Settings.model_validate(given)),
        )
        recipe.prepare(
            zoo.Card(name, "random", sizes.image, (0.5,) * 3, (0.5,) * 3, backbone.num_features)
        )
        learner = recipe.learner(backbone, people)
        learner.to(sizes.device).train()
        images = torch.randn(8, 3, *sizes.image, device=sizes.device)
        who = torch.arange(4, device=sizes.device).repeat_interleave(2)
        optimizer = learner.optimizer()
        with torch.autocast(sizes.device.type, torch.bfloat16):
            loss, _ = learner([images], 2, who)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            features = learner.eval().backbone(images)
        assert loss.isfinite() and features.isfinite().all(), name
    return "all finite"


def in_processes(count: int, folder: Path, *words: str) -> subprocess.Popen:
    """This file as a script, in so many processes that torchrun starts."""
    many = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    return subprocess.Popen([sys.executable, *many * (count > 1), __file__, str(folder), *words])


def killed_and_resumed(sizes: Sizes) -> str:
    """A run that SIGKILL ends half way, and goes on, against one that was left alone."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        words = (sizes.device.type, "resnet10_ibn")
        alone = in_processes(1, folder / "alone", *words)
        killed = in_processes(1, folder / "killed", *words)
        log = folder / "killed/history.jsonl"
        while killed.poll() is None and not (
            log.is_file() and len(log.read_bytes().splitlines()) >= STEPS // 2
        ):
            time.sleep(0.05)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        again = in_processes(1, folder / "killed", *words)
        assert alone.wait() == 0 and again.wait() == 0
        one, other = (
            np.array(json.loads((folder / name / "losses.json").read_text()))
            for name in ("alone", "killed")
        )
    wrong = np.abs(one - other).max()
    assert len(one) == len(other) == STEPS and wrong < 0.05, wrong
    return f"{STEPS} steps, losses differ by at most {wrong:.1e}"


def two_ranks(sizes: Sizes) -> str:
    """Two processes against one with the whole batch.

    On one GPU they share it, and talk through gloo.
    """
    with tempfile.TemporaryDirectory() as place:
        folder, words = Path(place), (sizes.device.type, "test_convnext")
        both, one = in_processes(2, folder / "two", *words), in_processes(1, folder / "one", *words)
        assert both.wait() == 0 and one.wait() == 0
        losses = [
            np.array(json.loads((folder / name / "losses.json").read_text()))
            for name in ("one", "two")
        ]
    wrong = np.abs(losses[0] - losses[1]).max()
    assert wrong < 0.05, wrong
    return f"{STEPS} steps, losses differ by at most {wrong:.1e}"


def norms_together(sizes: Sizes) -> str:
    """A synchronised batch norm on two GPUs against one on the joined batch."""
    if torch.cuda.device_count() < 2:
        return "not measured: one GPU"
    with tempfile.TemporaryDirectory() as place:
        folder, words = Path(place), ("cuda", "resnet10_ibn")
        both, one = in_processes(2, folder / "two", *words), in_processes(1, folder / "one", *words)
        assert both.wait() == 0 and one.wait() == 0
        first = [
            json.loads((folder / name / "losses.json").read_text())[0] for name in ("one", "two")
        ]
    assert abs(first[0] - first[1]) < 0.01, first
    return f"losses of the first step differ by {abs(first[0] - first[1]):.1e}"


def faiss_search(sizes: Sizes) -> str:
    """FAISS's exact search on the GPU against the one on the CPU."""
    try:
        import faiss
    except ImportError:
        return "not measured: no faiss"
    if not getattr(faiss, "get_num_gpus", int)():
        return "not measured: faiss sees no GPU"
    rows = F.normalize(torch.randn(20_000, 256, generator=torch.Generator().manual_seed(0))).numpy()
    index = faiss.IndexFlatIP(256)
    index.add(rows)
    _, wanted = index.search(rows[:500], 10)
    _, found = faiss.index_cpu_to_all_gpus(index).search(rows[:500], 10)
    same = (found == wanted).mean()
    assert same > 0.999, same
    return f"{100 * same:.2f} % of neighbours the same"


FIRST = [
    Check("loss and gradients in bfloat16 against float64", loss_in_bfloat16, 10),
    Check("views on the device against OpenCV's", views_as_opencv, 10),
    Check("steps that wait for the device", no_waits, 20, gpu=True),
]
THEN = [
    Check("SIGKILL and resume", killed_and_resumed, 60),
    Check("two processes against one", two_ranks, 60),
    Check("10 structures, a step of fine-tuning and embedding", structures, 30),
    Check("batch norms of two GPUs", norms_together, 60, gpu=True),
    Check("faiss on the GPU", faiss_search, 10, gpu=True),
]


def main() -> None:
    """A training in one of several processes: FOLDER, the device, and the backbone."""
    folder, device, backbone = Path(sys.argv[1]), *sys.argv[2:4]
    shares = device == "cuda" and int(os.environ.get("WORLD_SIZE", "1")) > torch.cuda.device_count()
    with ranks.together(device, "gloo" if shares else "auto") as own:
        sizes = Sizes(tiny=True, device=own)
        runtime = Runtime(compile=False, checkpoint_every=5, precision="float32")
        image = (64, 64) if backbone.startswith("test_") else (64, 32)
        losses = [row["loss"] for row in rows_of(sizes, backbone, folder, STEPS, runtime, image)]
        if ranks.rank() == 0:
            (folder / "losses.json").write_text(json.dumps(losses))


if __name__ == "__main__":
    main()
