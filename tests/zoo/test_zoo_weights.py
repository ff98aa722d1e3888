"""Checkpoints of every wrapping load; what does not fit is listed; what could run code is refused."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from cion_core import compat  # noqa: F401  before timm

# isort: split
import timm

from cion_core.errors import CionError
from cion_core.zoo import Card, create_model, load_weights, save
from cion_core.zoo.weights import unwrap


def demo(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return create_model("resnet10_ibn", (64, 32)).eval()


def prefixed(model: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in model.state_dict().items()}


def same(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return all(torch.equal(a[key], b[key]) for key in a)


TEACHER, STUDENT = demo(1), demo(2)
HEAD = {"head.mlp.0.weight": torch.zeros(2, 2), "head.last_layer.weight": torch.zeros(2, 2)}
WHOLE = {**prefixed(TEACHER, "backbone."), **HEAD}
WRAPPED = {
    "bare": TEACHER.state_dict(),
    "ddp": prefixed(TEACHER, "module."),
    "backbone and head": WHOLE,
    "ddp of backbone and head": {f"module.{key}": value for key, value in WHOLE.items()},
    "training": {"student": prefixed(STUDENT, "module.backbone."), "teacher": WHOLE},
    "training in flat keys": {**prefixed(STUDENT, "student.backbone."), **prefixed(TEACHER, "teacher.backbone.")},
    "student alone": {"student": prefixed(TEACHER, "module.backbone."), "epoch": 3},
    "trainer": {"state_dict": TEACHER.state_dict(), "epoch": 3, "optimizer": {"lr": 0.1}},
}  # fmt: skip


@pytest.mark.parametrize("how", WRAPPED)
def test_every_wrapping_loads_the_teacher(how: str, tmp_path: Path) -> None:
    torch.save(WRAPPED[how], tmp_path / "checkpoint.pth")
    model = demo(0)
    dropped = load_weights(model, tmp_path / "checkpoint.pth")
    assert same(model, TEACHER)
    assert set(dropped) == {
        "backbone and head": set(HEAD),
        "ddp of backbone and head": set(HEAD),
        "training": set(HEAD),
        "training in flat keys": set(prefixed(STUDENT, "student.backbone.")),
    }.get(how, set())


def test_the_student_where_it_is_asked_for(tmp_path: Path) -> None:
    torch.save(WRAPPED["training"], tmp_path / "checkpoint.pth")
    model = demo(0)
    assert load_weights(model, tmp_path / "checkpoint.pth", network="student") == []
    assert same(model, STUDENT)


def test_a_head_beside_no_backbone_is_left_over(tmp_path: Path) -> None:
    torch.save({**TEACHER.state_dict(), **HEAD}, tmp_path / "x.pth")
    with pytest.raises(CionError, match=r"left over: 2 \(head.last_layer.weight, head.mlp.0.weight\)"):
        load_weights(demo(0), tmp_path / "x.pth")


def test_missing_and_left_over_are_both_listed_and_nothing_is_loaded(tmp_path: Path) -> None:
    state = dict(TEACHER.state_dict())
    state["stem.weight"] = state.pop("conv1.0.weight")
    state["bn1.bias"] = torch.zeros(7)
    torch.save(state, tmp_path / "x.pth")
    model = demo(0)
    with pytest.raises(
        CionError,
        match=r"missing: 1 \(conv1.0.weight\); left over: 1 \(stem.weight\); other shape: 1 \(bn1.bias \(7,\) for",
    ):
        load_weights(model, tmp_path / "x.pth")
    assert same(model, demo(0))


def test_our_own_files(tmp_path: Path) -> None:
    save(tmp_path, TEACHER, Card("resnet10_ibn", "cion", (64, 32), (0.5,) * 3, (0.2,) * 3, 256))
    model = demo(0)
    assert load_weights(model, tmp_path / "model.safetensors") == []
    assert same(model, TEACHER)


class Malicious:
    """What an attacker puts into a checkpoint: unpickling it runs a shell command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


@pytest.mark.parametrize("how", ["zip", "legacy"])
def test_a_malicious_pickle_is_refused_and_does_nothing(how: str, tmp_path: Path) -> None:
    trap, file = tmp_path / "trap", tmp_path / "evil.pth"
    content = {"teacher": TEACHER.state_dict(), "args": Malicious(f"touch {trap}")}
    torch.save(content, file, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(CionError, match=r"evil.pth: refused: it asks for posix.system, which could run code"):
        load_weights(demo(0), file)
    assert not trap.exists()
    torch.load(file, weights_only=False)  # the trap is a real one
    assert trap.exists()


def test_the_command_line_in_dinos_checkpoints_is_no_code(tmp_path: Path) -> None:
    torch.save({"teacher": TEACHER.state_dict(), "args": argparse.Namespace(lr=0.1, arch="x")}, tmp_path / "x.pth")
    model = demo(0)
    load_weights(model, tmp_path / "x.pth")
    assert same(model, TEACHER)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.pth", b"", "not a file of weights"),
        ("x.pth", b"PK\x03\x04 torn", "not a file of weights"),
        ("x.pth", b"hello", "refused|not a file of weights"),
        ("x.safetensors", b"\x00" * 5, "not a safetensors file"),
        ("x.pth", None, "no such file"),
        ("x.safetensors", None, "no such file"),
    ],
)
def test_what_is_no_file_of_weights(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CionError, match=f"{name}: ({message})"):
        load_weights(demo(0), tmp_path / name)


def test_a_list_is_no_state_dict(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "x.pth")
    with pytest.raises(CionError, match="holds a list"):
        load_weights(demo(0), tmp_path / "x.pth")


@pytest.mark.parametrize("name", ["edgenext_x_small", "ghostnet_1_0", "mobilenetv3_small_050"])
def test_timms_imagenet_checkpoints(name: str, tmp_path: Path) -> None:
    """With their classifier, and without last stride or windows of ours: the features are timm's pooled ones."""
    torch.manual_seed(1)
    theirs = timm.create_model(name.replace("1_0", "100"), num_classes=10).eval()
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    model = create_model(name).eval()
    dropped = load_weights(model, tmp_path / "model.safetensors")
    assert len(dropped) == 2
    images = torch.randn(2, 3, 128, 64)
    with torch.inference_mode():
        wanted = theirs.forward_head(theirs.forward_features(images), pre_logits=True)
        assert torch.allclose(model(images), wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet50", "swin_tiny", "volo_d1"])
def test_timms_checkpoints_fit_where_ours_deviates(name: str, tmp_path: Path) -> None:
    """Last stride has no weights; windows and position embeddings are resized."""
    torch.manual_seed(1)
    full = {"swin_tiny": "swin_tiny_patch4_window7_224", "volo_d1": "volo_d1_224"}.get(name, name)
    theirs = timm.create_model(full, num_classes=10)
    torch.save(theirs.state_dict(), tmp_path / "x.pth")
    model = create_model(name)
    dropped = load_weights(model, tmp_path / "x.pth")
    assert {key.split(".")[0] for key in dropped} <= {"fc", "head", "aux_head"} and dropped
    key = next(key for key in model.state_dict() if key.endswith(("layer4.0.conv2.weight", "mlp.fc1.weight")))
    assert torch.equal(model.state_dict()[key], theirs.state_dict()[key])


def test_timms_vit_does_not_fit_ours(tmp_path: Path) -> None:
    torch.save(timm.create_model("vit_tiny_patch16_224").state_dict(), tmp_path / "x.pth")
    with pytest.raises(CionError, match=r"missing: .*fc.*left over: .*head"):
        load_weights(create_model("vit_tiny"), tmp_path / "x.pth")


def test_position_embeddings_of_another_size(tmp_path: Path) -> None:
    torch.save(create_model("vit_tiny").state_dict(), tmp_path / "x.pth")
    model = create_model("vit_tiny", (384, 192))
    load_weights(model, tmp_path / "x.pth")
    assert model(torch.zeros(1, 3, 384, 192)).shape == (1, model.num_features)


def test_unwrap_leaves_its_argument() -> None:
    value = {"teacher": {"module.a": torch.zeros(1)}}
    assert list(unwrap(value)[0]) == ["a"]
    assert list(value["teacher"]) == ["module.a"]
