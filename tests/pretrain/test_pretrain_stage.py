"""The stage: same crops and start for all methods, and errors that help."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from cion_core import tables, zoo
from cion_core.errors import CionError
from cion_core.pretrain import stage
from cion_core.pretrain.batches import Batches
from cion_core.pretrain.methods import METHODS

BACKBONE = "resnet10_ibn"


def weights(folder):
    return load_file(folder / "model.safetensors")


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_all_methods_start_alike_and_see_the_same_crops(data, settings, recorded, monkeypatch):
    seen, starts = {}, {}

    def look(self, batches, *_, **__):
        seen[self.name] = batches
        starts[self.name] = {key: value.clone() for key, value in self.exported.state_dict().items()}
        yield {"step": 0, "loss": 1.0}

    monkeypatch.setattr(stage, "train", look)
    p = settings()
    for method in METHODS:
        stage.run(p, method, BACKBONE)
    assert set(seen) == {"lup", "pnl", "dino", "tracklet", "cion"}
    start = weights(data / f"pretrain/random-{BACKBONE}")
    assert all(equal(start, other) for other in starts.values())
    assert {len(batches.store) for batches in seen.values()} == {17}, "without the crop that was dropped"
    labels = {name: np.unique(b.sampler.labels).size for name, b in seen.items()}
    assert labels == {"lup": 17, "pnl": 4, "dino": 17, "tracklet": 4, "cion": 3}
    header = (data / f"pretrain/random-{BACKBONE}/history.csv").read_text()
    assert header == "step,loss,lr,weight_decay,momentum\n"


@pytest.mark.parametrize("method", ["lup", "pnl", "dino", "tracklet", "cion"])
def test_a_model_folder_with_card_and_history(data, settings, recorded, method):
    p = settings(steps=3)
    stage.run(p, method, BACKBONE)
    folder = data / f"pretrain/{method}-{BACKBONE}"
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "history.csv", "model.safetensors"]
    model, card = zoo.load(folder)
    assert (card.method, card.backbone, card.image) == (method, BACKBONE, (32, 16))
    assert card.mean == (0.485, 0.456, 0.406) and card.std == (0.229, 0.224, 0.225)
    assert model(torch.zeros(2, 3, 32, 16)).shape == (2, card.num_features)
    history = pd.read_csv(folder / "history.csv")
    assert history.step.tolist() == [0, 1, 2] and np.isfinite(history).all(axis=None)
    stage.run(settings(steps=1), "random", BACKBONE)
    assert not equal(weights(folder), weights(data / f"pretrain/random-{BACKBONE}")), "something was learnt"
    (run, _) = recorded
    assert set(run.rows) == {0, 1, 2} and {"loss", "lr", "images_per_second"} <= set(run.rows[0])
    assert run.files == ["history.csv"] and run.example.shape == (1, 3, 32, 16) and run.card["method"] == method


def test_nan_stops_with_the_last_good_checkpoint(data, settings, recorded, monkeypatch, workspace):
    whole = Batches.__getitem__

    def spoiled(self, step):
        item = whole(self, step)
        item.views = [view * (np.nan if step == 5 else 1) for view in item.views]
        return item

    monkeypatch.setattr(Batches, "__getitem__", spoiled)
    with pytest.raises(
        CionError, match=r"cion at step 5: loss nan.*pretrain\.cion\.lr.*kept: .*step-000000004"
    ) as error:
        stage.run(settings(), "cion", BACKBONE)
    assert (workspace / str(error.value).rsplit("kept: ")[-1]).exists()
    assert not (data / "pretrain").exists()


@pytest.mark.parametrize(
    ("method", "backbone", "message"),
    [
        ("byol", BACKBONE, r"pretrain\.methods.*'byol'.*valid: random, lup, pnl, dino, tracklet, cion"),
        ("cion", "resnet10_nbi", r"'resnet10_nbi'.*valid: .*resnet50_ibn"),
    ],
)
def test_unknown_names_say_what_is_valid(data, settings, recorded, method, backbone, message):
    with pytest.raises(CionError, match=message):
        stage.run(settings(), method, backbone)


def test_levels_that_do_not_belong_together(data, settings, recorded):
    path = data / "denoise/video/identities.parquet"
    tables.write(tables.Identities, tables.read(tables.Identities, path).iloc[2:], path)
    with pytest.raises(CionError, match=r"cross_video.identities\.parquet: 2 of its crops are not in .*video"):
        stage.run(settings(), "dino", BACKBONE)


def test_no_crop_is_left(data, settings, recorded):
    for level in ("video", "cross_video"):
        tables.write(tables.Identities, tables.empty(tables.Identities), data / f"denoise/{level}/identities.parquet")
    with pytest.raises(CionError, match=r"no crop to train on; see denoise\.radius"):
        stage.run(settings(), "cion", BACKBONE)


def test_a_greyscale_crop_is_one_like_any_other(data, settings, recorded):
    import cv2

    crops = tables.read(tables.Crops, data / "tracklets/crops.parquet")
    grey = cv2.imencode(".jpg", np.full((24, 12), 90, np.uint8))[1].tobytes()
    (data / "tracklets/crops/grey.tar").write_bytes(grey)
    crops.loc[3, ["shard", "offset", "size"]] = ["grey.tar", 0, len(grey)]
    tables.write(tables.Crops, crops, data / "tracklets/crops.parquet")
    stage.run(settings(steps=3), "dino", BACKBONE)
    assert len(pd.read_csv(data / f"pretrain/dino-{BACKBONE}/history.csv")) == 3


def test_a_corrupt_crop_is_named(data, settings, recorded):
    shard = data / "tracklets/crops/v.tar"
    crops = tables.read(tables.Crops, data / "tracklets/crops.parquet")
    content = bytearray(shard.read_bytes())
    content[crops.offset[2] : crops.offset[2] + crops["size"][2]] = bytes(crops["size"][2])
    shard.write_bytes(content)
    with pytest.raises(CionError, match=r"v\.tar, crop 2 .*not a decodable JPEG"):
        stage.run(settings(), "dino", BACKBONE)


PLAIN = "test_convnext"  # no batch norm
WITHOUT = {
    "image": (64, 64), "local_image": (32, 32), "backbones": [PLAIN], "steps": 3,
    "momentum": {"teacher": 0.5, "center": 0.9},
    "head": {"out_dim": 16, "hidden": 8, "bottleneck": 4, "batch_norm": False},
}  # fmt: skip


def trained(data, p, method, backbone):
    stage.run(p, method, backbone)
    folder = data / f"pretrain/{method}-{backbone}"
    return weights(folder), pd.read_csv(folder / "history.csv")


@pytest.mark.parametrize("method", ["cion", "lup", "pnl"])
def test_a_batch_in_parts_is_the_batch(data, settings, recorded, method):
    whole, history = trained(data, settings(**WITHOUT), method, PLAIN)
    parts, again = trained(data, settings(**WITHOUT, accumulate=2), method, PLAIN)
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=1e-5, atol=1e-5)
    pd.testing.assert_frame_equal(again, history, rtol=1e-5, atol=1e-5)


def test_activations_made_again_and_compiled_networks_change_nothing(data, settings, recorded, monkeypatch):
    plain, _ = trained(data, settings(steps=3), "cion", BACKBONE)
    calls, compiled = [], torch.nn.Module.compile

    def eagerly(self, dynamic):  # what Inductor would make of it takes a minute and a C++ compiler
        calls.append(type(self).__name__)
        compiled(self, backend="eager", dynamic=dynamic)

    monkeypatch.setattr(torch.nn.Module, "compile", eagerly)
    again, _ = trained(data, settings(steps=3, checkpointing=True), "cion", BACKBONE)
    assert not calls
    other, _ = trained(data, settings(steps=3, compile=True), "cion", BACKBONE)
    assert calls == ["ResNet", "ResNet"] and plain.keys() == again.keys() == other.keys()
    for key, value in plain.items():
        torch.testing.assert_close(again[key], value, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(other[key], value, rtol=1e-5, atol=1e-6)


def test_a_network_whose_activations_cannot_be_made_again(data, settings, recorded, monkeypatch):
    monkeypatch.delattr("timm.models.resnet.ResNet.set_grad_checkpointing")
    with pytest.raises(CionError, match=r"pretrain\.checkpointing: ResNet knows no such thing"):
        stage.run(settings(checkpointing=True), "cion", BACKBONE)


@pytest.mark.parametrize("method", ["cion", "lup", "pnl"])
def test_lower_precision_learns_too(data, settings, recorded, method):
    plain, history = trained(data, settings(**WITHOUT), method, PLAIN)
    half, lower = trained(data, settings(**WITHOUT, precision="bfloat16"), method, PLAIN)
    assert {value.dtype for value in half.values()} == {torch.float32}
    assert any(not torch.equal(half[key], plain[key]) for key in plain)
    np.testing.assert_allclose(lower.loss, history.loss, rtol=0.1)
