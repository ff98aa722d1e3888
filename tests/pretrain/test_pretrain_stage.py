"""The stage: same crops and start for all methods, and errors that help."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from cion_core import tables, zoo
from cion_core.errors import CionError
from cion_core.pretrain import plan as planning
from cion_core.pretrain import stage
from cion_core.pretrain.methods import METHODS
from cion_core.pretrain.methods.base import ExternalWeights
from cion_core.pretrain.view_batches import ViewBatches

BACKBONE = "resnet10_ibn"


def weights(folder):
    return load_file(folder / "model.safetensors")


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_all_methods_start_alike_and_see_the_same_crops(
    data, settings, runtime, recorded, monkeypatch
):
    seen, starts = {}, {}

    def look(self, batches, *_):
        seen[self.name] = batches
        starts[self.name] = {
            key: value.clone() for key, value in self.kept_network.state_dict().items()
        }
        yield {"step": 0, "loss": 1.0}

    monkeypatch.setattr("cion_core.training.run.train", look)
    p = settings()
    for part in METHODS.all():
        if not issubclass(part, ExternalWeights):  # they begin elsewhere
            stage.run(p, part.name, BACKBONE, runtime())
    assert set(seen) == {"lup", "pnl", "dino", "tracklet", "cion"}
    start = weights(data / f"pretrain/random-{BACKBONE}")
    assert all(equal(start, other) for other in starts.values())
    assert {len(batches.store) for batches in seen.values()} == {17}, (
        "without the crop that was dropped"
    )
    labels = {name: np.unique(b.sampler.labels).size for name, b in seen.items()}
    assert labels == {"lup": 17, "pnl": 4, "dino": 17, "tracklet": 4, "cion": 3}
    header = (data / f"pretrain/random-{BACKBONE}/history.csv").read_text()
    assert header == "step,loss,lr,weight_decay,momentum\n"


@pytest.mark.parametrize("method", ["lup", "pnl", "dino", "tracklet", "cion"])
def test_a_model_folder_with_card_and_history(data, settings, runtime, recorded, method):
    p = settings(steps=3)
    stage.run(p, method, BACKBONE, runtime())
    folder = data / f"pretrain/{method}-{BACKBONE}"
    files = ["card.json", "history.csv", "method.json", "model.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == files
    model, card = zoo.load(folder)
    ran = card.extra["runtime"]
    assert (ran["device"], ran["precision"], ran["processes"], ran["checkpoint_every"]) == (
        "cpu",
        "float32",
        1,
        2,
    )
    assert (card.method, card.backbone, card.image) == (method, BACKBONE, (32, 16))
    assert card.mean == (0.485, 0.456, 0.406) and card.std == (0.229, 0.224, 0.225)
    assert model(torch.zeros(2, 3, 32, 16)).shape == (2, card.num_features)
    saw = {"images": 17} | {
        "tracklet": {"identities": 4},
        "pnl": {"identities": 4},
        "cion": {"identities": 3},
    }.get(method, {})
    assert {key: card.extra[key] for key in ("images", "identities") if key in card.extra} == saw
    took = json.loads((data / f"costs/pretrain/{method}-{BACKBONE}.json").read_text())
    assert (took["device"], took["processes"]) == ("cpu", 1) and took["seconds"] > 0
    history = pd.read_csv(folder / "history.csv")
    assert history.step.tolist() == [0, 1, 2] and np.isfinite(history).all(axis=None)
    stage.run(settings(steps=1), "random", BACKBONE, runtime())
    assert not equal(weights(folder), weights(data / f"pretrain/random-{BACKBONE}")), (
        "something was learnt"
    )
    assert json.loads((data / f"costs/pretrain/random-{BACKBONE}.json").read_text())["seconds"] == 0
    (run, _) = recorded
    assert set(run.rows) == {0, 1, 2} and {"loss", "lr", "images_per_second"} <= set(run.rows[0])
    assert (
        run.files == ["history.csv"]
        and run.example.shape == (1, 3, 32, 16)
        and run.card["method"] == method
    )


def test_what_a_report_says_of_a_method_lies_beside_its_model(data, settings, runtime, recorded):
    p = settings(steps="1 epochs", cion={"lr": 0.003, "instances": [(0.0, 2), (0.5, 4)]})
    stage.run(p, "cion", BACKBONE, runtime())
    found = json.loads((data / f"pretrain/cion-{BACKBONE}/method.json").read_text())
    # half an epoch at K = 2, of 4 + 3 + 3 visits, and half at K = 4, of 2 + 2 + 2: 10 and 12 crops
    # of batches of 8
    assert found == {
        "name": "cion",
        "about": METHODS.named("cion").about,
        "style": {"colour": "#2f7fe0", "dash": "solid"},
        "phases": [[0.0, 2], [1 / 3, 4]],
        "labels": "cross_video",
    }
    stage.run(p, "random", BACKBONE, runtime())
    found = json.loads((data / f"pretrain/random-{BACKBONE}/method.json").read_text())
    assert found["style"] == {"colour": "#a07a4f", "dash": [0, [1, 1.5]]} and found["phases"] == [
        [0.0, 1]
    ]


def test_runtime_is_no_part_of_the_work_key(data, settings, runtime, recorded, monkeypatch):
    keys = []
    monkeypatch.setattr(
        "cion_core.work.key", lambda settings, *inputs: keys.append(settings) or "key"
    )
    stage.run(settings(steps=1), "cion", BACKBONE, runtime())
    stage.run(
        settings(steps=1), "cion", BACKBONE, runtime(workers=1, accumulate=2, precision="bfloat16")
    )
    assert keys[0] == keys[1] and not {"methods", "backbones", "dino", "workers"} & set(keys[0])
    assert keys[0]["settings"]["lr"] == 0.003


MINE = """
from torch import nn
import torch
from cion_core.config import Positive, Section
from cion_core.pretrain.methods.base import Trained, parameter_groups
from cion_core.pretrain.views import ViewKind
from cion_core.registry import Style
from cion_core.training.learner import Rates


class Shrink(Trained):
    about = "Every weight shrinks alike"
    style = Style("#aa3355")
    labels = "video"

    class Settings(Section):
        lr: Positive

    def __init__(self, p, backbone, identities):
        super().__init__(p, backbone, identities)
        self.backbone = backbone

    kept_network = property(lambda self: self.backbone)
    chance = property(lambda self: 1.0)

    def networks(self):
        return [self.backbone]

    def view_kinds(self):
        return [ViewKind(self.p.image, (0.8, 1.0), blur=0.0, sigma=(0.1, 0.2))]

    def optimizer(self):
        return torch.optim.SGD(parameter_groups(self.backbone), lr=self.settings.lr)

    def rates(self, step, steps):
        return Rates(self.settings.lr, 0.0)

    def forward(self, views, instances, identities):
        self.backbone(views[0])
        return sum((weight**2).sum() for weight in self.backbone.parameters()) / 2, {}
"""


def test_a_method_of_ones_own_is_one_file(data, settings, runtime, recorded, workspace):
    (workspace / "my_methods.py").write_text(MINE)
    name = "my_methods.Shrink"
    p = settings(steps=2, methods=[name], my_methods={"Shrink": {"lr": 0.5}})
    stage.run(p, name, BACKBONE, runtime())
    stage.run(p, "random", BACKBONE, runtime())
    folder = data / f"pretrain/{name}-{BACKBONE}"
    start, found = weights(data / f"pretrain/random-{BACKBONE}"), weights(folder)
    names = [key for key in start if "running" not in key and "num_batches" not in key]
    for key in names:  # w - 0.5 w, twice
        torch.testing.assert_close(found[key], start[key] / 4)
    model, card = zoo.load(folder)
    assert card.method == name and model(torch.zeros(2, 3, 32, 16)).shape == (2, card.num_features)
    found = json.loads((folder / "method.json").read_text())
    assert found["name"] == name and found["style"]["colour"] == "#aa3355"
    planned = planning.plan(p, name, BACKBONE, np.array([4, 4]))
    assert planned.phases == [(1, 2)] and planned.gigabytes["loss"] == 0
    with pytest.raises(ValidationError, match="Shrink"):
        settings(methods=[name], my_methods={"Shrink": {"lr": -1}})


def test_nan_stops_with_the_last_good_checkpoint(
    data, settings, runtime, recorded, monkeypatch, workspace
):
    whole = ViewBatches.__getitem__

    def spoiled(self, step):
        item = whole(self, step)
        item.views = [view * (np.nan if step == 5 else 1) for view in item.views]
        return item

    monkeypatch.setattr(ViewBatches, "__getitem__", spoiled)
    with pytest.raises(
        CionError, match=r"cion at step 5: loss nan.*pretrain\.cion\.lr.*kept: .*step-000000004"
    ) as error:
        stage.run(settings(), "cion", BACKBONE, runtime())
    assert (workspace / str(error.value).rsplit("kept: ")[-1]).exists()
    assert not (data / "pretrain").exists()


@pytest.mark.parametrize(
    ("method", "second", "warned"),
    [("cion", "v.mp4", True), ("cion", "w.mp4", False), ("tracklet", "v.mp4", False)],
)
def test_who_trains_across_videos_is_told_where_nobody_is_seen_in_two(
    data, settings, runtime, recorded, capsys, method, second, warned
):
    path = data / "tracklets/crops.parquet"
    crops = tables.read(tables.Crops, path)
    crops.loc[crops.tracklet == 0, "video"] = second  # identity 1 is of tracklets 0 and 1
    tables.write(tables.Crops, crops, path)
    stage.run(settings(steps=1), method, BACKBONE, runtime())
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert len(said) == warned and all(
        "hardly anybody is seen in two videos (0.0 %" in line for line in said
    )


def test_identities_are_cut_at_a_confidence_for_who_goes_by_links(
    data, settings, runtime, recorded, monkeypatch, capsys
):
    seen, keys = {}, {}

    def look(self, batches, *_):
        seen[self.name] = np.unique(batches.sampler.labels).size
        yield {"step": 0, "loss": 1.0}

    def key(settings, *inputs):
        keys[settings["method"]] = settings["min_confidence"], [path.name for path in inputs]
        return "-".join(settings["method"])

    monkeypatch.setattr("cion_core.training.run.train", look)
    monkeypatch.setattr("cion_core.work.key", key)
    p = settings(min_confidence=0.8)
    with pytest.raises(CionError, match=r"links\.npz: no such file"):
        stage.run(p, "cion", BACKBONE, runtime())
    links = {
        "names": np.arange(4),
        "identity": np.array([1, 1, 2, 3]),
        "merges": np.array([[0, 1]]),
    }
    for sure, identities in ((0.9, 3), (0.7, 4)):
        np.savez(data / "denoise/cross_video/links.npz", **links, probability=np.array([sure]))
        stage.run(p, "cion", BACKBONE, runtime())
        assert (
            seen["cion"] == identities and len(stage.counts("cion", confidence=0.8)) == identities
        )
    assert zoo.load(data / f"pretrain/cion-{BACKBONE}")[1].extra["min_confidence"] == 0.8
    said = capsys.readouterr().out
    assert "a probability of 0.8 and more: 1 of 1 are cut, 3 identities are 4 now" in said
    stage.run(p, "tracklet", BACKBONE, runtime())
    assert seen["tracklet"] == 4 and "probability" not in capsys.readouterr().out
    files = ["crops.parquet", "identities.parquet", "identities.parquet"]
    assert keys == {"cion": (0.8, [*files, "links.npz"]), "tracklet": (None, files)}


@pytest.mark.parametrize(
    ("method", "backbone", "message"),
    [
        (
            "byol",
            BACKBONE,
            r"pretrain\.methods.*'byol'.*valid are cion, dino, imagenet, .*, random, tracklet",
        ),
        ("cion", "resnet10_nbi", r"'resnet10_nbi'.*valid: .*resnet50_ibn"),
    ],
)
def test_unknown_names_say_what_is_valid(
    data, settings, runtime, recorded, method, backbone, message
):
    with pytest.raises(CionError, match=message):
        stage.run(settings(), method, backbone, runtime())


def test_levels_that_do_not_belong_together(data, settings, runtime, recorded):
    path = data / "denoise/video/identities.parquet"
    tables.write(tables.Identities, tables.read(tables.Identities, path).iloc[2:], path)
    with pytest.raises(
        CionError, match=r"cross_video.identities\.parquet: 2 of its crops are not in .*video"
    ):
        stage.run(settings(), "dino", BACKBONE, runtime())


def test_no_crop_is_left(data, settings, runtime, recorded):
    for level in ("video", "cross_video"):
        tables.write(
            tables.Identities,
            tables.empty(tables.Identities),
            data / f"denoise/{level}/identities.parquet",
        )
    with pytest.raises(CionError, match=r"no crop to train on; see denoise\.radius"):
        stage.run(settings(), "cion", BACKBONE, runtime())


def test_a_greyscale_crop_is_one_like_any_other(data, settings, runtime, recorded):
    import cv2

    crops = tables.read(tables.Crops, data / "tracklets/crops.parquet")
    grey = cv2.imencode(".jpg", np.full((24, 12), 90, np.uint8))[1].tobytes()
    (data / "tracklets/crops/grey.tar").write_bytes(grey)
    crops.loc[3, ["shard", "offset", "size"]] = ["grey.tar", 0, len(grey)]
    tables.write(tables.Crops, crops, data / "tracklets/crops.parquet")
    stage.run(settings(steps=3), "dino", BACKBONE, runtime())
    assert len(pd.read_csv(data / f"pretrain/dino-{BACKBONE}/history.csv")) == 3


def test_a_corrupt_crop_is_named(data, settings, runtime, recorded):
    shard = data / "tracklets/crops/v.tar"
    crops = tables.read(tables.Crops, data / "tracklets/crops.parquet")
    content = bytearray(shard.read_bytes())
    content[crops.offset[2] : crops.offset[2] + crops["size"][2]] = bytes(crops["size"][2])
    shard.write_bytes(content)
    with pytest.raises(CionError, match=r"v\.tar, crop 2 .*not a decodable JPEG"):
        stage.run(settings(), "dino", BACKBONE, runtime())


PLAIN = "test_convnext"  # no batch norm
WITHOUT = {
    "image": (64, 64), "local_image": (32, 32), "backbones": [PLAIN], "steps": 3,
    "momentum": {"teacher": 0.5, "center": 0.9},
    "head": {"out_dim": 16, "hidden": 8, "bottleneck": 4, "batch_norm": False},
}  # fmt: skip


def trained(data, p, method, backbone, runtime):
    stage.run(p, method, backbone, runtime)
    folder = data / f"pretrain/{method}-{backbone}"
    return weights(folder), pd.read_csv(folder / "history.csv")


@pytest.mark.parametrize("method", ["cion", "lup", "pnl"])
def test_a_batch_in_parts_is_the_batch(data, settings, runtime, recorded, method):
    whole, history = trained(data, settings(**WITHOUT), method, PLAIN, runtime())
    parts, again = trained(data, settings(**WITHOUT), method, PLAIN, runtime(accumulate=2))
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=1e-5, atol=1e-5)
    pd.testing.assert_frame_equal(again, history, rtol=1e-5, atol=1e-5)


def test_activations_made_again_and_compiled_networks_change_nothing(
    data, settings, runtime, recorded, monkeypatch
):
    plain, _ = trained(data, settings(steps=3), "cion", BACKBONE, runtime())
    calls, compiled = [], torch.nn.Module.compile

    def eagerly(self, dynamic):  # what Inductor would make of it takes a minute and a C++ compiler
        calls.append(type(self).__name__)
        compiled(self, backend="eager", dynamic=dynamic)

    monkeypatch.setattr(torch.nn.Module, "compile", eagerly)
    again, _ = trained(data, settings(steps=3), "cion", BACKBONE, runtime(checkpointing=True))
    assert not calls
    other, _ = trained(data, settings(steps=3), "cion", BACKBONE, runtime(compile=True))
    assert calls == ["ResNet", "ResNet"] and plain.keys() == again.keys() == other.keys()
    for key, value in plain.items():
        torch.testing.assert_close(again[key], value, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(other[key], value, rtol=1e-5, atol=1e-6)


def test_a_network_whose_activations_cannot_be_made_again(
    data, settings, runtime, recorded, monkeypatch
):
    monkeypatch.delattr("timm.models.resnet.ResNet.set_grad_checkpointing")
    with pytest.raises(CionError, match=r"runtime\.checkpointing: ResNet knows no such thing"):
        stage.run(settings(), "cion", BACKBONE, runtime(checkpointing=True))


@pytest.mark.parametrize("method", ["cion", "lup", "pnl"])
def test_lower_precision_learns_too(data, settings, runtime, recorded, method):
    plain, history = trained(data, settings(**WITHOUT), method, PLAIN, runtime())
    half, lower = trained(data, settings(**WITHOUT), method, PLAIN, runtime(precision="bfloat16"))
    assert {value.dtype for value in half.values()} == {torch.float32}
    assert any(not torch.equal(half[key], plain[key]) for key in plain)
    np.testing.assert_allclose(lower.loss, history.loss, rtol=0.1)
