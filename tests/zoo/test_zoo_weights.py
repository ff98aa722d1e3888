"""Checkpoints of every wrapping load; what does not fit is listed; unsafe code is refused."""

from __future__ import annotations

import argparse
import datetime
import os
import zipfile
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from pathlib import Path, PurePosixPath, WindowsPath

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors.torch import save_file
from torch import nn

from cion_core import compat  # noqa: F401  before timm

# isort: split
import timm

from cion_core.errors import CionError
from cion_core.zoo import Card, create_model, load_weights, save


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
    "training in flat keys": {
        **prefixed(STUDENT, "student.backbone."),
        **prefixed(TEACHER, "teacher.backbone."),
    },
    "student alone": {"student": prefixed(TEACHER, "module.backbone."), "epoch": 3},
    "trainer": {"state_dict": TEACHER.state_dict(), "epoch": 3, "optimizer": {"lr": 0.1}},
}


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


def test_the_wanted_network_of_a_student_alone_is_the_student(tmp_path: Path) -> None:
    torch.save(WRAPPED["student alone"], tmp_path / "x.pth")
    model = demo(0)
    load_weights(model, tmp_path / "x.pth", network="teacher")
    assert same(model, TEACHER)


EXTRAS = {
    "classifier.weight": torch.zeros(7, 256), "heads.weight": torch.zeros(7, 256),
    "pixel_mean": torch.zeros(1, 3, 1, 1), "bottleneck.running_var": torch.ones(256),
    "arc_margin.weight": torch.zeros(7, 256),
}  # fmt: skip
PREFIXES = (
    "",
    "module.",
    "model.",
    "base.",
    "backbone.",
    "encoder_q.",
    "module.model.backbone.",
    "net.0.",
)
WRAPPERS = (None, "state_dict", "net", "model", "model_state_dict", "network", "weights_of_epoch_3")


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_any_wrapper_and_prefix_with_heads_beside(
    prefix: str, wrapper: str | None, tmp_path: Path
) -> None:
    """What is dropped is exactly what was beside, in the names that stand in the file."""
    state = {**prefixed(TEACHER, prefix), **EXTRAS}
    value = (
        state
        if wrapper is None
        else {wrapper: state, "epoch": 3, "optimizer": {"state": {0: torch.zeros(2)}}}
    )
    torch.save(value, tmp_path / "x.pth")
    model = demo(0)
    assert set(load_weights(model, tmp_path / "x.pth")) == set(EXTRAS)
    assert same(model, TEACHER)


def test_heads_inside_the_common_prefix_are_dropped_without_it(tmp_path: Path) -> None:
    state = {**prefixed(TEACHER, "module.base."), "module.classifier.weight": torch.zeros(7, 256)}
    torch.save({"net": state}, tmp_path / "x.pth")
    assert load_weights(demo(0), tmp_path / "x.pth") == ["classifier.weight"]


def test_of_a_query_and_a_key_encoder_the_query_is_taken(tmp_path: Path) -> None:
    state = {
        **prefixed(STUDENT, "module.encoder_k."),
        **prefixed(TEACHER, "module.encoder_q."),
        "queue": torch.zeros(9),
    }
    torch.save({"state_dict": state}, tmp_path / "x.pth")
    model = demo(0)
    load_weights(model, tmp_path / "x.pth")
    assert same(model, TEACHER)


@pytest.mark.parametrize(
    "names", [("model", "model_ema"), ("state_dict", "state_dict_ema"), ("net", "ema_net")]
)
def test_of_a_model_and_its_average_the_average_is_taken(
    names: tuple[str, str], tmp_path: Path
) -> None:
    torch.save({names[0]: STUDENT.state_dict(), names[1]: TEACHER.state_dict()}, tmp_path / "x.pth")
    model = demo(0)
    load_weights(model, tmp_path / "x.pth")
    assert same(model, TEACHER)


def test_two_networks_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    torch.save({"first": STUDENT.state_dict(), "second": TEACHER.state_dict()}, tmp_path / "x.pth")
    with pytest.raises(CionError, match=r"two networks fit, 'first\.' and 'second\.'"):
        load_weights(demo(0), tmp_path / "x.pth")


def test_more_of_a_backbone_than_the_model_has_is_never_dropped(tmp_path: Path) -> None:
    """A deeper network holds all keys of a shallower one; an attention between has its own name."""
    deeper = {**TEACHER.state_dict(), "layer3.1.conv1.weight": torch.zeros(128, 128, 3, 3)}
    attentive = {**TEACHER.state_dict(), "NL_2.0.g.weight": torch.zeros(1, 64, 1, 1)}
    for state, key in ((deeper, "layer3.1.conv1.weight"), (attentive, "NL_2.0.g.weight")):
        torch.save(state, tmp_path / "x.pth")
        with pytest.raises(CionError, match=rf"left over: 1 \({key}\)"):
            load_weights(demo(0), tmp_path / "x.pth")


def test_the_error_tells_how_near_the_best_fit_came(tmp_path: Path) -> None:
    state = prefixed(TEACHER, "module.base.")
    del state["module.base.bn1.weight"]
    torch.save({"net": state, "optimizer": {"x": torch.zeros(3)}}, tmp_path / "x.pth")
    wanted = sum("num_batches" not in key for key in TEACHER.state_dict())
    with pytest.raises(CionError) as raised:
        load_weights(demo(0), tmp_path / "x.pth")
    assert "missing: 1 (bn1.weight)" in str(raised.value)
    assert f"the nearest fit has {wanted - 1} of {wanted} keys below 'net.module.base.'" in str(
        raised.value
    )
    assert str(raised.value).count("\n") == 0


class Other(PurePosixPath):
    """Pickled as a path of another system is, which cannot be made here."""

    def __reduce__(self) -> tuple:
        return WindowsPath, (str(self),)


HARMLESS = {
    "a float": np.float64(0.87),
    "a float of 32 bits": np.float32(0.5),
    "an integer": np.int64(3),
    "a truth": np.bool_(True),
    "an array": np.arange(3.0),
    "a type": np.dtype("float32"),
    "a word": np.str_("x"),
    "a default": defaultdict(list, a=[1]),
    "counts": Counter("aab"),
    "a queue": deque([1]),
    "a time": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    "a path": Path("runs/x"),
    "a path of Windows": Other("x"),
    "a set": {1, 2},
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_trainers_keep_beside_weights_is_harmless(kind: str, tmp_path: Path) -> None:
    torch.save({"state_dict": TEACHER.state_dict(), "beside": HARMLESS[kind]}, tmp_path / "x.pth")
    model = demo(0)
    load_weights(model, tmp_path / "x.pth")
    assert same(model, TEACHER)


def test_a_factory_that_runs_code_is_refused(tmp_path: Path) -> None:
    beside = defaultdict(os.getcwd)
    torch.save({"state_dict": TEACHER.state_dict(), "beside": beside}, tmp_path / "x.pth")
    with pytest.raises(CionError, match="getcwd, which could run code"):
        load_weights(demo(0), tmp_path / "x.pth")


def test_a_checkpoint_that_lies_in_itself_is_entered_once(tmp_path: Path) -> None:
    value = {"model": TEACHER.state_dict()}
    value["trainer"] = {"checkpoint": value}
    torch.save(value, tmp_path / "x.pth")
    model = demo(0)
    load_weights(model, tmp_path / "x.pth")
    assert same(model, TEACHER)


def test_numpys_scalars_by_their_old_path(tmp_path: Path) -> None:
    """NumPy 1 kept `scalar` in numpy.core, which checkpoints of that time name."""
    torch.save({"state_dict": TEACHER.state_dict(), "rank1": np.float64(0.87)}, tmp_path / "x.pth")
    with (
        zipfile.ZipFile(tmp_path / "x.pth") as new,
        zipfile.ZipFile(tmp_path / "old.pth", "w") as old,
    ):
        for entry in new.namelist():
            old.writestr(
                entry,
                new.read(entry).replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray"),
            )
    assert b"cnumpy.core.multiarray" in (tmp_path / "old.pth").read_bytes()
    model = demo(0)
    load_weights(model, tmp_path / "old.pth")
    assert same(model, TEACHER)


def test_missing_and_left_over_are_both_listed_and_nothing_is_loaded(tmp_path: Path) -> None:
    state = dict(TEACHER.state_dict())
    state["stem.weight"] = state.pop("conv1.0.weight")
    state["bn1.bias"] = torch.zeros(7)
    torch.save(state, tmp_path / "x.pth")
    model = demo(0)
    with pytest.raises(
        CionError,
        match=r"missing: 1 \(conv1.0.weight\); left over: 1 \(stem.weight\); "
        r"other shape: 1 \(bn1.bias \(7,\) for",
    ):
        load_weights(model, tmp_path / "x.pth")
    assert same(model, demo(0))


def test_our_own_files_load_completely(tmp_path: Path) -> None:
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
    with pytest.raises(
        CionError, match=r"evil.pth: refused: it asks for posix.system, which could run code"
    ):
        load_weights(demo(0), file)
    assert not trap.exists()
    torch.load(file, weights_only=False)  # the trap is a real one
    assert trap.exists()


def test_the_command_line_in_dinos_checkpoints_is_no_code(tmp_path: Path) -> None:
    torch.save(
        {"teacher": TEACHER.state_dict(), "args": argparse.Namespace(lr=0.1, arch="x")},
        tmp_path / "x.pth",
    )
    model = demo(0)
    load_weights(model, tmp_path / "x.pth")
    assert same(model, TEACHER)


@pytest.mark.parametrize("write", [torch.save, save_file])
@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_the_content_and_not_the_name_tells_the_format(
    tmp_path: Path, write: Callable, name: str
) -> None:
    write(TEACHER.state_dict(), tmp_path / name)
    model = demo(0)
    load_weights(model, tmp_path / name)
    assert same(model, TEACHER)


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.to("meta"),
        lambda value: value.to(torch.complex64),
        lambda value: value.to_sparse(),
    ],
)
def test_tensors_that_are_no_plain_numbers_are_named(tmp_path: Path, change: Callable) -> None:
    state = TEACHER.state_dict()
    key = next(key for key in state if key.endswith("weight"))
    torch.save(state | {key: change(state[key])}, tmp_path / "x.pth")
    with pytest.raises(
        CionError, match=f"x.pth: 1 tensors are not plain numbers, the first {key}; "
    ):
        load_weights(demo(0), tmp_path / "x.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_of_a_failed_training_are_refused(tmp_path: Path, value: float) -> None:
    state = demo(0).state_dict()
    first = next(key for key in state if key.endswith("weight"))
    state[first].view(-1)[3] = value
    torch.save(state, tmp_path / "failed.pt")
    with pytest.raises(CionError, match=f"1 tensors hold NaN or infinity, the first {first}"):
        load_weights(demo(1), tmp_path / "failed.pt")


def test_a_model_folder_of_a_failed_training_is_refused(tmp_path: Path) -> None:
    model = demo(0)
    card = Card("resnet10_ibn", "cion", (64, 32), (0.5,) * 3, (0.5,) * 3, model.num_features)
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] = float("nan")
    save(tmp_path / "model", model, card)
    with pytest.raises(CionError, match="1 tensors hold NaN or infinity"):
        create_model(tmp_path / "model")


def test_a_program_is_named(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(tmp_path / "x.pt"))
    with pytest.raises(
        CionError, match="not a file of weights: it is a TorchScript program; save its state_dict"
    ):
        load_weights(demo(0), tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.pth", b"", "not a file of weights: it is empty$"),
        (
            "x.pth",
            b"PK\x03\x04 torn",
            "not a file of weights: it is damaged, cut off, or of another format$",
        ),
        ("x.pth", b"hello", "not a file of weights: it is damaged, cut off, or of another format$"),
        (
            "x.pth",
            b"version https://git-lfs.github.com/spec/v1\n",
            "not a file of weights: it is a pointer of Git LFS",
        ),
        ("x.pth", b"<html>404</html>", "not a file of weights: it is a web page"),
        ("x.safetensors", b"<html>404</html>", "not a safetensors file: it is a web page"),
        ("x.h5", b"\x89HDF\r\n\x1a\n", "not a file of weights: it is HDF5, as Keras writes"),
        (
            "x.safetensors",
            b"\x00" * 5,
            "not a safetensors file: it is damaged, cut off, or of another format$",
        ),
        ("x.pth", None, "no such file"),
        ("x.safetensors", None, "no such file"),
    ],
)
def test_what_is_no_file_of_weights(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CionError, match=f"{name}: ({message})"):
        load_weights(demo(0), tmp_path / name)


def test_a_list_is_no_state_dict(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "x.pth")
    with pytest.raises(CionError, match="holds a list"):
        load_weights(demo(0), tmp_path / "x.pth")


@pytest.mark.parametrize("name", ["edgenext_x_small", "ghostnet_1_0", "mobilenetv3_small_050"])
def test_timms_imagenet_checkpoints_give_timms_features(name: str, tmp_path: Path) -> None:
    """With classifier, without our last stride or windows, features are timm's pooled ones."""
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
    key = next(
        key
        for key in model.state_dict()
        if key.endswith(("layer4.0.conv2.weight", "mlp.fc1.weight"))
    )
    assert torch.equal(model.state_dict()[key], theirs.state_dict()[key])


def test_timms_vit_does_not_fit_ours(tmp_path: Path) -> None:
    torch.save(timm.create_model("vit_tiny_patch16_224").state_dict(), tmp_path / "x.pth")
    with pytest.raises(CionError, match=r"missing: .*fc"):
        load_weights(create_model("vit_tiny"), tmp_path / "x.pth")


def test_position_embeddings_of_another_size(tmp_path: Path) -> None:
    torch.save(create_model("vit_tiny").state_dict(), tmp_path / "x.pth")
    model = create_model("vit_tiny", (384, 192))
    load_weights(model, tmp_path / "x.pth")
    assert model(torch.zeros(1, 3, 384, 192)).shape == (1, model.num_features)
