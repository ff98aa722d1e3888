"""Checkpoints of every wrapping load; what does not fit is listed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_models import STUDENT, TEACHER, demo, prefixed, same

from cion_core.errors import CionError
from cion_core.zoo import Card, load_weights, save

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
