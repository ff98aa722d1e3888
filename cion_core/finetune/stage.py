"""The finetune stage: a pre-trained model folder and a labelled set in, a fine-tuned model folder out."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import params, tables, tracking, work, zoo
from cion_core.errors import CionError
from cion_core.finetune.engine import train
from cion_core.images import read_image, resize
from cion_core.training.checkpoint import Checkpoints
from cion_core.progress import bar, say
from cion_core.zoo.device import pick

CACHE = 512 * 2**20  # bytes of decoded training images that may stay in memory


class Images:
    """Labelled images by row, decoded once where they fit into memory; RGB uint8 at a fixed (height, width)."""

    def __init__(self, paths: list[str], size: tuple[int, int]) -> None:
        self.paths, self.size = paths, size
        self._cache: dict[int, np.ndarray] | None = {} if len(paths) * size[0] * size[1] * 3 <= CACHE else None

    def __call__(self, row: int) -> np.ndarray:
        if self._cache is not None and row in self._cache:
            return self._cache[row]
        image = resize(read_image(self.paths[row]), self.size)
        if self._cache is not None:
            self._cache[row] = image
        return image


def run(p: params.Finetune, method: str, backbone: str, root: Path = Path("data")) -> None:
    """Fine-tune `pretrain/METHOD-BACKBONE` on the benchmark's training people into `finetune/METHOD-BACKBONE`.

    Raises:
        CionError: too few training people, an unreadable image, a missing model, a loss that is not finite.
    """
    name = f"{method}-{backbone}"
    labelled = tables.read(tables.Benchmark, root / "benchmark/images.parquet")
    training = labelled[(labelled.split == "train") & (labelled.person > 0)]
    labels, people = pd.factorize(training.person, sort=True)
    if len(people) < p.identities:
        raise CionError(
            f"{root / 'benchmark/images.parquet'}: {len(people)} training people, but finetune.identities asks "
            f"for {p.identities} in a batch; valid: 2 to {len(people)}"
        )
    source = root / "pretrain" / name
    model, card = zoo.load(source)
    device = pick(p.device)
    say(f"fine-tuning {backbone} after {method}: {len(training)} images of {len(people)} people, on {device}")

    settings = {"method": method, "backbone": backbone, **p.model_dump(exclude={"device", "checkpoint_every"})}
    key = work.key(settings, source / "model.safetensors", *training.path)
    checkpoints = Checkpoints(work.folder("finetune", key))
    read = Images(training.path.tolist(), card.image)
    rows = []
    with tracking.run("finetune", name, key, settings, tags={"method": method, "backbone": backbone}) as record:
        steps = train(model, read, lambda images: zoo.to_tensor(images, card), labels, p, device, checkpoints)
        progress = bar(f"fine-tune {name}", "step", p.steps, items=steps)
        for row in progress:
            rows.append(row)
            progress.set_postfix(loss=f"{row['loss']:.3f}", accuracy=f"{row['accuracy']:.2f}")
            record.metrics({k: v for k, v in row.items() if k != "step"}, step=row["step"])
        model.to("cpu").eval()
        out = root / "finetune" / name
        zoo.save(out, model, replace(card, extra={**card.extra, "finetuned": settings}))
        with work.atomic(out / "history.csv") as temporary:
            pd.DataFrame(rows).to_csv(temporary, index=False)
        record.artifact(out / "history.csv")
        record.model(model, np.zeros((1, 3, *card.image), np.float32), asdict(card))
    shutil.rmtree(checkpoints.folder)
