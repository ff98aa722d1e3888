"""Views of a crop a second, on one core: `python bench/views.py`.

2 global views of 256x128 and 8 local ones of 128x64 of each crop, with the published strengths:
ours (OpenCV and NumPy, as the data loader's workers make them), the same operations of torchvision
on PIL images, as published, and ours in batches on a device (`pretrain.views_on_device`), on CUDA
where there is one. Crops are noise of some smoothness, 256x128 to 320x160 pixels. The forms
take turns in one process; medians are printed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import cv2
import numpy as np
import torch
from PIL import Image

from cion_core import compat  # noqa: F401  before torchvision

# isort: split
from torchvision import transforms as tv

from cion_core.pretrain import views_on_device
from cion_core.pretrain.settings import Views
from cion_core.pretrain.views import BatchViewParameters, ViewKind, draw_parameters, multi_crop
from cion_core.pretrain.views_on_cpu import FILL, make_view

PUBLISHED = Views(jitter=0.8, grey=0.2, blur=(1.0, 0.1, 0.5), solarise=0.2, local_scale=(0.05, 0.8))
VIEW_KINDS = multi_crop((256, 128), (128, 64), 8, PUBLISHED)


def crops(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    images = []
    for _ in range(count):
        height = int(rng.integers(256, 321))
        coarse = rng.integers(0, 256, (16, 8, 3), np.uint8)
        image = cv2.resize(coarse, (height // 2, height), interpolation=cv2.INTER_CUBIC)
        images.append(np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8))
    return images


def published(kind: ViewKind) -> Callable[[Image.Image], torch.Tensor]:
    """The operations of one view in torchvision's words, on PIL images."""
    blur = tv.GaussianBlur(2 * int(np.ceil(3 * kind.sigma[1])) + 1, kind.sigma)
    return tv.Compose(
        [
            tv.RandomResizedCrop(
                kind.size, kind.scale, (0.4, 0.6), interpolation=tv.InterpolationMode.BICUBIC
            ),
            tv.RandomHorizontalFlip(),
            tv.RandomApply([tv.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=kind.jitter),
            tv.RandomGrayscale(kind.grey),
            tv.RandomApply([blur], p=kind.blur),
            tv.RandomSolarize(128, kind.solarise),
            tv.PILToTensor(),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crops", type=int, default=48)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    images = crops(options.crops)
    pil = [Image.fromarray(image) for image in images]
    theirs = [published(kind) for kind in VIEW_KINDS]

    def ours() -> None:
        for image, singles in zip(images, drawn().per_view(), strict=True):
            for kind, single in zip(VIEW_KINDS, singles, strict=True):
                make_view(image, kind, single)

    def drawn() -> BatchViewParameters:
        generators = [np.random.default_rng([0, 1, 0, slot]) for slot in range(len(images))]
        return draw_parameters([image.shape[:2] for image in images], VIEW_KINDS, generators)

    def on(device: str, make: Callable[..., torch.Tensor] = views_on_device.make_views) -> None:
        pixels = torch.from_numpy(views_on_device.pad_crops(images, (512, 256))).to(device)
        numbers = torch.from_numpy(views_on_device.pack_parameters(drawn())).float().to(device)
        colours = torch.tensor([[0.0] * 3, [1.0] * 3, FILL], device=device)
        for own, kind in ((numbers[:, :2], VIEW_KINDS[0]), (numbers[:, 2:], VIEW_KINDS[-1])):
            made = make(pixels, own, kind.size, colours)
        made.sum().item()  # until it is there

    forms = {
        "torchvision on PIL": lambda: [make(image) for image in pil for make in theirs],
        "ours, OpenCV": ours,
        "ours, batched, CPU": lambda: on("cpu"),
    }
    if torch.cuda.is_available():
        compiled = torch.compile(views_on_device.make_views, dynamic=False)
        forms["ours, batched, CUDA"] = lambda: on("cuda")
        forms["the same, compiled"] = lambda: on("cuda", compiled)
    taken: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(options.repeat):
        for name, work in forms.items():
            begin = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - begin)
    slow = median(taken["torchvision on PIL"])
    print(f"{options.crops} crops, {len(VIEW_KINDS)} views of each, one core")
    for name, times in taken.items():
        print(
            f"{name:24} {len(images) / median(times):7.0f} images/s  {slow / median(times):5.1f} "
            "times as fast"
        )


if __name__ == "__main__":
    main()
