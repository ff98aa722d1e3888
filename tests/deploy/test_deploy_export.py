"""Exports: the same features from other libraries, at every batch size; nothing false is left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from cion_core import rendered, zoo
from cion_core.cli import app
from cion_core.deploy import agree, export, graphs, timm_folder
from cion_core.deploy.formats import SUFFIX, Format
from cion_core.errors import CionError
from cion_core.zoo import Card, to_tensor

IMAGES = rendered.people(6)
NAME = "data/pretrain/cion-resnet10_ibn"


def reference(model: nn.Module, card: Card) -> np.ndarray:
    with torch.inference_mode():
        return model(to_tensor(IMAGES, card)).numpy()


@pytest.fixture
def loaded(folder: Path) -> tuple[nn.Module, Card]:
    return zoo.load(folder)


@pytest.mark.parametrize("to", [Format.onnx, Format.torchscript])
@pytest.mark.parametrize("fused", [False, True])
def test_graphs_give_the_models_features(
    loaded: tuple, to: Format, fused: bool, tmp_path: Path
) -> None:
    model, card = loaded
    out = tmp_path / f"out/x{SUFFIX[to]}"
    export.export(model, card, to, out, IMAGES, fused)
    features = {Format.onnx: graphs.load_onnx, Format.torchscript: graphs.load_torchscript}[to](out)
    wanted = reference(model, card)
    raw = to_tensor(IMAGES, (card.image, (0.0,) * 3, (1.0,) * 3))
    for batch in (1, 3, 6):
        found = features(raw[:batch] if fused else to_tensor(IMAGES[:batch], card))
        assert np.allclose(
            found, agree.scale_to_unit(wanted[:batch]) if fused else wanted[:batch], atol=1e-4
        )
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_an_export_carries_its_card(loaded: tuple, tmp_path: Path) -> None:
    model, card = loaded
    export.export(
        model, replace(card, licence="Apache-2.0"), Format.torchscript, tmp_path / "x.pt", IMAGES
    )
    inside = {"card.json": ""}
    torch.jit.load(str(tmp_path / "x.pt"), _extra_files=inside)
    inside = json.loads(inside["card.json"])
    assert inside["mean"] == [0.5, 0.4, 0.3] and inside["licence"] == "Apache-2.0"


def test_safetensors_is_a_model_folder(loaded: tuple, tmp_path: Path) -> None:
    model, card = loaded
    export.export(model, replace(card, name="mine"), Format.safetensors, tmp_path / "mine", IMAGES)
    again, read = zoo.load(tmp_path / "mine")
    assert read == replace(card, name="mine")
    assert np.array_equal(reference(again, read), reference(model, card))


@pytest.mark.parametrize("name", ["ghostnet_0_5", "mobilenetv3_small_050", "swin_tiny"])
def test_timm_loads_what_is_timms(name: str, tmp_path: Path) -> None:
    """`export` compares by loading with timm alone; here again, from the folder's final place."""
    torch.manual_seed(0)
    size = (128, 64)
    model = zoo.create_model(name, size).eval()
    card = Card(name, "x", size, (0.5,) * 3, (0.2,) * 3, model.num_features)
    export.export(model, card, Format.timm, tmp_path / "out", IMAGES)
    found = timm_folder.load_timm(tmp_path / "out")(to_tensor(IMAGES, card))
    assert np.allclose(found, reference(model, card), atol=1e-4)
    config = json.loads((tmp_path / "out/config.json").read_text())["pretrained_cfg"]
    assert config["mean"] == [0.5] * 3 and config["input_size"] == [3, 128, 64]


REASONS = {
    "resnet18": "last stride",
    "resnet18_ibn": "IBN",
    "vit_tiny": "convolutional stem",
    "repvit_m0_9": "squeeze",
}


@pytest.mark.parametrize(("name", "reason"), REASONS.items())
def test_timm_refuses_what_it_does_not_have(name: str, reason: str, tmp_path: Path) -> None:
    model = zoo.create_model(name, (128, 64)).eval()
    card = Card(name, "x", (128, 64), (0.5,) * 3, (0.2,) * 3, model.num_features)
    with pytest.raises(CionError, match=f"timm has no {name}: .*{reason}"):
        export.export(model, card, Format.timm, tmp_path / "out", IMAGES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["repvit_m0_9", "fastvit_s12"])
def test_reparameterised_graphs_have_fewer_layers_and_the_same_features(
    name: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = zoo.create_model(name, (64, 32)).eval()
    for module in model.modules():
        # Numbers as after training: fusing must use every one of them.
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.normal_(module.weight, 1, 0.1)
            nn.init.normal_(module.bias, 0, 0.1)
    card = Card(name, "x", (64, 32), (0.5,) * 3, (0.2,) * 3, model.num_features)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    export.export(model, card, Format.torchscript, tmp_path / "x.pt", IMAGES)
    fused = graphs.make_deployable(model, card, fused=False)
    count = {
        which: sum(isinstance(m, nn.Conv2d) for m in net.modules())
        for which, net in (("is", fused), ("was", model))
    }
    assert count["is"] < count["was"]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules()) or name.startswith(
        "fastvit"
    )
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


class Fickle(nn.Module):
    """Branches on its input's values, which a trace freezes as they were for zeros."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images if images.abs().sum() == 0 else images.flip(3) * 0.1)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_an_export_that_disagrees_fails_and_leaves_nothing(loaded: tuple, tmp_path: Path) -> None:
    model, card = loaded
    out = tmp_path / "out/x.pt"
    with pytest.raises(
        CionError, match=r"x.pt is not written: the torchscript export of resnet10_ibn gives: "
    ):
        export.export(Fickle(model).eval(), card, Format.torchscript, out, IMAGES)
    assert not list(out.parent.iterdir())
    out.write_text("an earlier export")
    with pytest.raises(CionError):
        export.export(Fickle(model).eval(), card, Format.torchscript, out, IMAGES)
    assert out.read_text() == "an earlier export"


def test_features_agree_in_direction_and_shape_or_say_how_not() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(8, 32))
    agree.check_agreement(wanted, 3 * wanted, "x")  # length has no part in it
    agree.check_agreement(wanted, wanted + rng.normal(size=wanted.shape) * 1e-7, "x")
    with pytest.raises(CionError, match="cosine"):
        agree.check_agreement(wanted, wanted + rng.normal(size=wanted.shape) * 0.1, "x")
    with pytest.raises(CionError, match=r"features \(8, 31\)"):
        agree.check_agreement(wanted, wanted[:, :31], "x")
    with pytest.raises(CionError, match="finite"):
        agree.check_agreement(wanted, wanted * np.nan, "x")
    angles = np.array([0, 0.2, 0.203])
    near = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    agree.check_agreement(near, near, "x")
    angles[1] = 0.206  # a cosine of 0.99998 with what it was
    with pytest.raises(CionError, match="another ranking than the model's for image 0"):
        agree.check_agreement(near, np.stack((np.cos(angles), np.sin(angles)), axis=1), "x")


def test_what_cannot_be_asked_for(loaded: tuple, tmp_path: Path) -> None:
    with pytest.raises(CionError, match="weights alone"):
        export.export(*loaded, Format.safetensors, tmp_path / "x", IMAGES, fused=True)
    with pytest.raises(CionError, match="at least 3"):
        export.export(*loaded, Format.onnx, tmp_path / "x", IMAGES[:2])


def test_the_export_command_says_where_the_model_comes_from(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a workspace with a lock and an evaluation, the card says where the model comes from."""
    root = folder.parents[2]
    monkeypatch.chdir(root)
    for benchmark, state, score in (
        ("demo", "frozen", 8.5),
        ("elsewhere", "frozen", 7.0),
        ("demo", "mgn", 17.0),
    ):
        evaluated = root / "data/evaluate" / benchmark / state / "cion-resnet10_ibn"
        evaluated.mkdir(parents=True)
        row = {"method": "cion", "run": state, "benchmark": benchmark, "mAP": score}
        (evaluated / "metrics.json").write_text(json.dumps(row))
    deps = "[{path: data/tracklets, md5: a1}, {path: cion_core/zoo, md5: b2}]"
    outs = f"[{{path: {NAME}, md5: c3}}]"
    (root / "dvc.lock").write_text(f"stages: {{pretrain: {{deps: {deps}, outs: {outs}}}}}")
    done = CliRunner().invoke(app, ["export", NAME, "--to", "safetensors", "--licence", "MIT"])
    assert done.exit_code == 0, done.output
    card = zoo.load(root / "exports/cion-resnet10_ibn")[1]
    assert (card.name, card.licence) == ("cion-resnet10_ibn", "MIT")
    assert card.metrics == {"demo": {"mAP": 8.5}, "elsewhere": {"mAP": 7.0}}, (
        "of this model, not of what came of it"
    )
    assert len(card.data) == 16
    done = CliRunner().invoke(app, ["export", NAME, "--to", "timm"])
    assert done.exit_code == 1 and "timm has no IBN" in done.output


@pytest.mark.parametrize("opset", [11, 17])
def test_an_older_opset_is_what_it_says_in_a_format_of_its_time(
    loaded: tuple, opset: int, tmp_path: Path
) -> None:
    """`export` itself runs it in onnxruntime, and compares."""
    onnx = pytest.importorskip("onnx")
    model, card = loaded
    said = export.export(model, card, Format.onnx, tmp_path / "x.onnx", IMAGES, opset=opset)
    graph = onnx.load(tmp_path / "x.onnx")
    assert [one.version for one in graph.opset_import if not one.domain] == [opset]
    assert graph.ir_version <= 8
    assert "OpenCV (cv2.dnn)" in said


def test_what_opencv_makes_of_a_graph_is_said(tmp_path: Path) -> None:
    """A plain convolution runs there, and gives the same; what reads it wrongly is named."""
    pytest.importorskip("onnx")
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    torch.onnx.export(network, (torch.zeros(1, 3, 16, 8),), tmp_path / "x.onnx", dynamo=False)
    images = torch.randn(4, 3, 16, 8)
    with torch.inference_mode():
        wanted = network(images).numpy()
    assert graphs.try_in_opencv(tmp_path / "x.onnx", images, wanted) == (
        "OpenCV (cv2.dnn) gives the same, one image at a time"
    )
    assert "use onnxruntime" in graphs.try_in_opencv(tmp_path / "x.onnx", images, wanted[::-1])
    (tmp_path / "torn.onnx").write_bytes(b"nothing")
    assert "does not run it" in graphs.try_in_opencv(tmp_path / "torn.onnx", images, wanted)


def test_an_opset_that_there_is_not(loaded: tuple, tmp_path: Path) -> None:
    with pytest.raises(CionError, match="opset 7; valid: 11 to"):
        export.export(*loaded, Format.onnx, tmp_path / "x.onnx", IMAGES, opset=7)
