"""How fast training is on a GPU: the measurements of gpu_check.py."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import torch
from gpu_check import Check, Sizes
from pretrain_gpu import PARTS, Jpegs, as_ours, as_published, measured, settings
from published_loss import literal
from torch.nn import functional as F
from views import VIEW_KINDS
from views import crops as made_up

from cion_core import zoo
from cion_core.pretrain import fused, views_on_device
from cion_core.pretrain.losses import IdentityGuidedLoss
from cion_core.pretrain.views import draw_parameters
from cion_core.pretrain.views_on_cpu import FILL
from cion_core.runtime import Runtime


def seconds(work: Callable[[], object], device: torch.device, repeat: int = 5) -> float:
    """The median time of `work`, once it has warmed up."""
    taken = []
    for turn in range(repeat + 2):
        begin = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if turn > 1:
            taken.append(time.perf_counter() - begin)
    return median(taken)


def told(numbers: dict[str, float], batch: int) -> str:
    """A form's speed, memory, and where the time of a step goes."""
    shares = ", ".join(f"{part} {numbers[part] / numbers['step']:.0%}" for part in PARTS)
    return f"{batch / numbers['step']:.0f} crops/s, {numbers['memory']:.1f} GB ({shares})"


def steps(sizes: Sizes) -> str:
    """The published loop and ours, with as many workers each."""
    p = settings(
        sizes.backbone, sizes.batch, sizes.instances, sizes.local_views, sizes.image, sizes.dim
    )
    store, runtime = Jpegs(max(320, sizes.batch)), Runtime(workers=sizes.workers)

    def ours(parts):  # `measured` goes by its name
        return as_ours(p, store, sizes.device, parts, runtime)

    mine = measured(ours, sizes.device, sizes.steps)
    print("ours:", told(mine, sizes.batch), flush=True)
    published = partial(as_published, p, store, sizes.device, workers=sizes.workers)
    theirs = measured(lambda parts: published(parts), sizes.device, sizes.steps)
    ratio = theirs["step"] / mine["step"]
    return (
        f"ours {told(mine, sizes.batch)}; published {told(theirs, sizes.batch)}; {ratio:.1f} times "
        "as fast"
    )


def largest_batch(sizes: Sizes) -> str:
    """Batches of twice, four and eight times as many crops, until one does not fit."""
    found = []
    for times in (2, 4, 8)[: 1 if sizes.tiny else 3]:
        batch = sizes.batch * times
        p = settings(
            sizes.backbone, batch, sizes.instances, sizes.local_views, sizes.image, sizes.dim
        )

        def ours(parts, p=p, batch=batch):
            return as_ours(
                p, Jpegs(batch), sizes.device, parts, Runtime(workers=sizes.workers, compile=False)
            )

        try:
            numbers = measured(ours, sizes.device, 2)
        except torch.OutOfMemoryError:
            found.append(f"{batch}: does not fit")
            break
        found.append(f"{batch}: {batch / numbers['step']:.0f} crops/s, {numbers['memory']:.1f} GB")
        print(found[-1], flush=True)
    return "; ".join(found) + " (not compiled)"


def losses(sizes: Sizes) -> str:
    """The forms of the loss, forward and backward."""
    crops, views, width = sizes.batch, 2 + sizes.local_views, 256
    loss = IdentityGuidedLoss(sizes.dim, views).to(sizes.device).eval()
    student = F.normalize(torch.randn(views * crops, width, device=sizes.device)).requires_grad_()
    teacher = F.normalize(torch.randn(2 * crops, width, device=sizes.device))
    prototypes = torch.randn(sizes.dim, width, device=sizes.device).requires_grad_()

    def gradient_of_logits(form: Callable[..., torch.Tensor]) -> None:
        with torch.autocast(sizes.device.type, torch.bfloat16):
            logits = fused.cosines(student, prototypes), fused.cosines(teacher, prototypes.detach())
        value = form(logits[0].float(), logits[1].float())
        torch.autograd.grad(value, (student, prototypes))

    def gradient_of_heads() -> None:
        with torch.autocast(sizes.device.type, torch.bfloat16):
            value = loss.loss_from_heads(
                student, prototypes, teacher, prototypes.detach(), sizes.instances
            )
        torch.autograd.grad(value, (student, prototypes))

    slow = seconds(
        lambda: gradient_of_logits(lambda s, t: literal(s, t, loss, sizes.instances)),
        sizes.device,
        1,
    )
    ours = seconds(
        lambda: gradient_of_logits(lambda s, t: loss(s, t, sizes.instances)), sizes.device
    )
    whole = seconds(gradient_of_heads, sizes.device)
    return (
        f"double loop {1000 * slow:.0f} ms; of logits {1000 * ours:.1f} ms, {slow / ours:.0f} "
        f"times as fast; with the last layer fused {1000 * whole:.1f} ms, {slow / whole:.0f} times"
    )


def views(sizes: Sizes) -> str:
    """Views on the device: as they come, compiled, and kornia's where it is installed."""
    count = 8 if sizes.tiny else 120
    images = made_up(count)
    drawn = draw_parameters(
        [image.shape[:2] for image in images],
        VIEW_KINDS,
        [np.random.default_rng(row) for row in range(count)],
    )
    pixels = torch.from_numpy(views_on_device.pad_crops(images, (512, 256))).to(sizes.device)
    numbers = torch.from_numpy(views_on_device.pack_parameters(drawn)).float().to(sizes.device)
    colours = torch.tensor([[0.0] * 3, [1.0] * 3, FILL], device=sizes.device)

    def all_of_them(make: Callable[..., torch.Tensor]) -> None:
        make(pixels, numbers[:, :2], VIEW_KINDS[0].size, colours)
        make(pixels, numbers[:, 2:], VIEW_KINDS[-1].size, colours)

    eager = seconds(lambda: all_of_them(views_on_device.make_views), sizes.device, 3)
    found = [f"eager {count / eager:.0f} crops/s"]
    if not sizes.tiny:
        compiled = torch.compile(views_on_device.make_views, dynamic=False)
        found.append(f"compiled {count / seconds(lambda: all_of_them(compiled), sizes.device):.0f}")
    if kornia := of_kornia():
        x = pixels.permute(0, 3, 1, 2).float() / 255
        found.append(
            f"kornia {count / seconds(lambda: [make(x) for make in kornia], sizes.device, 3):.0f}"
        )
    return ", ".join(found)


def of_kornia() -> list[Callable[[torch.Tensor], torch.Tensor]]:
    """The same kind of views by kornia, one module a view; empty where it is not installed."""
    try:
        from kornia import augmentation as k
    except ImportError:
        return []
    made = []
    for kind in VIEW_KINDS:
        made.append(torch.nn.Sequential(
            k.RandomResizedCrop(kind.size, scale=kind.scale, ratio=kind.ratio),
            k.RandomHorizontalFlip(),
            k.ColorJitter(0.4, 0.4, 0.2, 0.1, p=kind.jitter),
            k.RandomGrayscale(p=kind.grey),
            k.RandomGaussianBlur((13, 13), kind.sigma, p=kind.blur),
            k.RandomSolarize(p=kind.solarise),
        ))  # fmt: skip
    return made


def embedding(sizes: Sizes) -> str:
    """Crops a second through the backbone in evaluation, in bfloat16 and channels-last."""
    model = (
        zoo.create_model(sizes.backbone, sizes.image)
        .to(sizes.device, memory_format=torch.channels_last)
        .eval()
    )
    count = 8 if sizes.tiny else 256
    images = torch.randn(count, 3, *sizes.image, device=sizes.device).to(
        memory_format=torch.channels_last
    )

    @torch.no_grad()
    def once() -> None:
        with torch.autocast(sizes.device.type, torch.bfloat16):
            model(images)

    return f"{count / seconds(once, sizes.device):.0f} crops/s"


FIRST = [Check("a step, published and ours", steps, 200)]
THEN = [
    Check("views", views, 60),
    Check("the loss", losses, 30),
    Check("embedding", embedding, 15),
    Check("larger batches", largest_batch, 90),
]
