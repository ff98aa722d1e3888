"""Cluster Contrast: published numbers, the loop written out, resumed rounds, pure clusters."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import coloured
import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from cion_core import rendered, zoo
from cion_core.deploy import export, graphs
from cion_core.deploy.formats import Format
from cion_core.errors import CionError
from cion_core.finetune import clustering
from cion_core.finetune.features import extract_features
from cion_core.finetune.recipes import cluster_contrast
from cion_core.finetune.recipes.cluster_contrast import ClusterContrast, Embedding
from cion_core.neighbours.arrays import unit


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of made-up people."""
    folder = tmp_path_factory.mktemp("coloured")
    coloured.draw(folder)
    return folder


@pytest.fixture
def folder(images: Path, tmp_path: Path) -> Path:
    """The images, in a folder that a run may write in."""
    for path in images.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_an_empty_section_is_the_published_recipe() -> None:
    recipe = ClusterContrast(ClusterContrast.Settings(), 1)
    recipe.prepare(coloured.CARD)
    s, erasing = recipe.settings, recipe.augmentation.erasing
    assert recipe.size == (256, 128) and recipe.resizing == ("bicubic", "bicubic")
    assert recipe.mean == recipe.std == (0.5, 0.5, 0.5)
    assert recipe.every == 200 and recipe.steps(np.zeros(9)) == 50 * 200 and not recipe.supervised
    assert s.identities * s.instances == 256 and s.instances == 8
    assert (s.clustering, s.eps, s.neighbours, clustering.MIN_SAMPLES) == (
        "dbscan",
        0.6,
        (30, 6),
        4,
    )
    assert (s.temperature, s.momentum, s.weight_decay) == (0.05, 0.2, 5e-4)
    assert (recipe.augmentation.flip, recipe.augmentation.pad, erasing.share) == (0.5, 10, 0.5)
    assert (
        erasing.area == (0.02, 0.4)
        and erasing.ratio == pytest.approx((0.3, 3.33), abs=0.01)
        and not erasing.log
    )
    assert erasing.fill == (0.485, 0.456, 0.406)
    recipe.size = (64, 32)
    assert recipe.augmentation.pad == 2, "as much of a person"
    learner = recipe.learner(zoo.create_model(coloured.BACKBONE), np.full(10, -1))
    (group,) = learner.optimizer().param_groups
    assert group["momentum"] == 0.9 and group["decays"] and not group["nesterov"]
    assert len(group["params"]) == sum(weight.requires_grad for weight in learner.parameters())
    epochs = [learner.rates(200 * epoch + 7, 10000) for epoch in (0, 19, 20, 39, 40, 49)]
    assert [rates.lr for rates in epochs] == pytest.approx(
        [3.5e-4, 3.5e-4, 3.5e-5, 3.5e-5, 3.5e-6, 3.5e-6]
    )
    assert {rates.weight_decay for rates in epochs} == {5e-4}


def test_the_network_is_pooled_by_gem_then_normed_then_of_unit_length() -> None:
    torch.manual_seed(0)
    backbone = zoo.create_model(coloured.BACKBONE, (32, 16)).eval()
    batch = torch.randn(5, 3, 32, 16)
    maps = backbone.forward_features(batch)
    model = Embedding(backbone).train()
    assert model.backbone.global_pool.p.item() == 3 and not model.norm.bias.requires_grad
    model.backbone.eval()
    pooled = (maps.clamp(min=1e-6) ** 3).mean((2, 3)) ** (1 / 3)
    normed = (pooled - pooled.mean(0)) / torch.sqrt(pooled.var(0, unbiased=False) + 1e-5)
    torch.testing.assert_close(
        model(batch), normed / normed.norm(dim=1, keepdim=True), rtol=1e-4, atol=1e-5
    )
    assert model.num_features == 256


def literal(run: coloured.Run) -> tuple[dict[str, torch.Tensor], list[float]]:
    """The recipe as one loop over rounds that shares nothing; the weights and the losses."""
    s, network = run.recipe.settings, run.learner.network.train()
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer, losses = (
        torch.optim.SGD(learning, lr=s.lr, momentum=0.9, weight_decay=s.weight_decay),
        [],
    )
    pictures = [run.batches.images(row) for row in range(len(run.people))]
    whole = zoo.to_tensor(pictures, (coloured.SIZE, (0.5,) * 3, (0.5,) * 3))
    for epoch in range(s.epochs):
        network.eval()
        with torch.no_grad():
            found = network(whole)
        network.train()
        labels = clustering.dbscan(found.numpy(), s.eps, *s.neighbours)
        count = labels.max() + 1
        centres = torch.stack(
            [normalize(found[labels == cluster].mean(0), dim=0) for cluster in range(count)]
        )
        sampler = run.recipe.sampler(labels, run.batches.cameras)
        for group in optimizer.param_groups:
            group["lr"] = s.lr * 0.1 ** (epoch // s.decay_every)
        for step in range(epoch * s.iterations, (epoch + 1) * s.iterations):
            rows = sampler(step)[0]
            draws = [
                np.random.default_rng([coloured.SEED, 2, step, place]) for place in range(len(rows))
            ]
            views = [
                run.recipe.view(pictures[row], own) for row, own in zip(rows, draws, strict=True)
            ]
            target = torch.from_numpy(labels[rows])
            batch = torch.from_numpy(np.stack(views))
            given = torch.cat([network(batch), torch.empty(0, 256)])  # all in one group
            loss = cross_entropy(given @ centres.T / s.temperature, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            for cluster in target.unique():
                own = given.detach()[target == cluster]
                hardest = own[(own @ centres[cluster]).argmin()]
                centres[cluster] = normalize(
                    s.momentum * centres[cluster] + (1 - s.momentum) * hardest, dim=0
                )
    return network.state_dict(), losses


def test_the_weights_are_those_of_the_loop_written_out(folder: Path) -> None:
    # At a higher rate rounding grows a thousandfold in these steps.
    run = coloured.begin(folder, group=None, lr=1e-3)
    rows = run.rows()
    weights, losses = literal(coloured.begin(folder, group=None, lr=1e-3))
    assert [row["loss"] for row in rows] == pytest.approx(losses, rel=1e-3)
    for key, value in run.learner.network.state_dict().items():
        torch.testing.assert_close(value, weights[key], rtol=1e-3, atol=5e-4)
    begun = coloured.begin(folder).learner.network.state_dict()
    assert (
        max((weights[key] - begun[key]).abs().max() for key in begun if "running" not in key) > 1e-3
    )


def test_history_tells_of_the_rounds(folder: Path) -> None:
    run = coloured.begin(folder)
    rows = run.rows()
    assert [row["clusters"] for row in rows] == [rows[0]["clusters"]] * 4 + [
        rows[4]["clusters"]
    ] * 4
    labels = run.batches.people
    assert rows[4]["clusters"] == labels.max() + 1 == int(run.learner.memory.count)
    assert rows[4]["outliers"] == (labels < 0).sum() and -1 <= rows[4]["silhouette"] <= 1
    assert 0 <= rows[0]["accuracy"] <= 1 and run.learner.training


@pytest.mark.parametrize("kept", [3, 4, 5])
def test_a_run_goes_on_in_the_middle_of_a_round_and_at_its_edge(folder: Path, kept: int) -> None:
    whole = coloured.begin(folder)
    history = whole.rows(checkpoint_every=kept)
    for path in sorted((folder / "work").glob("step-*"))[1:]:
        path.unlink()  # as if it had been killed then
    assert [path.name for path in (folder / "work").glob("step-*")] == [
        f"step-{kept if kept > 3 else 6:09d}.ckpt"
    ]
    resumed = coloured.begin(folder)
    assert resumed.rows(checkpoint_every=kept) == history
    assert same(resumed.weights(), whole.weights())
    assert resumed.batches.people.tolist() == whole.batches.people.tolist()


def test_workers_are_given_the_round(folder: Path) -> None:
    """They are new processes in every round, which unpickle the batches."""
    run = coloured.begin(folder, epochs=1)
    run.rows()
    item, other = run.batches[2], pickle.loads(pickle.dumps(run.batches))[2]
    assert torch.equal(item.views[0], other.views[0]) and torch.equal(
        item.identities, other.identities
    )
    assert item.identities.max() < int(run.learner.memory.count)


def test_two_processes_are_one_with_the_same_groups(folder: Path) -> None:
    here = Path(coloured.__file__)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    words = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(here),
        str(folder),
    ]
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    both = torch.load(folder / "both.pt")
    alone = coloured.begin(folder, epochs=3)
    alone.folder = folder / "alone"
    history = alone.rows()
    assert both["labels"] == alone.batches.people.tolist() and len(history) == 12
    for found, wanted in zip(both["history"], history, strict=True):
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-4)
    for key, value in alone.weights().items():
        torch.testing.assert_close(both["weights"][key], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_runs(folder: Path, precision: str) -> None:
    run = coloured.begin(folder, epochs=1, iterations=2)
    rows = run.rows(precision=precision)
    plain = coloured.begin(folder, epochs=1, iterations=2)
    plain.folder = folder / "plain"
    assert rows[0]["loss"] == pytest.approx(plain.rows()[0]["loss"], rel=0.1)
    assert run.learner.memory.centres.dtype == torch.float32
    assert not same(run.weights(), plain.weights())


def test_features_of_all_images_as_they_are_tested(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = coloured.begin(folder)
    network = run.learner.network.train()
    before = run.weights()
    found = extract_features(network, run.batches.images, run.recipe.mean, run.recipe.std)
    assert network.training and network.backbone.bn1.training and same(run.weights(), before)
    network.eval()
    with torch.inference_mode():
        for row in (0, 41, 95):
            picture = run.batches.images(row)
            expected = network(zoo.to_tensor([picture], coloured.card(run)))[0]
            np.testing.assert_allclose(found[row], expected, atol=1e-5)
    monkeypatch.setattr("cion_core.finetune.features.BATCH", 7)
    np.testing.assert_allclose(
        extract_features(network, run.batches.images, run.recipe.mean, run.recipe.std),
        found,
        atol=1e-5,
    )


def test_the_model_folder_loads_and_is_exported(folder: Path, tmp_path: Path) -> None:
    run = coloured.begin(folder, epochs=1)
    run.rows()
    run.learner.kept_network.eval()
    card = coloured.card(run)
    zoo.save(tmp_path / "model", run.learner.kept_network, card)
    model, read = zoo.load(tmp_path / "model")
    assert isinstance(model, Embedding) and read.num_features == model.num_features == 256
    assert read.built_by.endswith("cluster_contrast.ClusterContrast") and read.resize == "bicubic"
    pictures = rendered.people(5)
    batch = zoo.to_tensor(pictures, read)
    with torch.inference_mode():
        wanted = run.learner.kept_network(batch)
        assert torch.equal(model(batch), wanted)
    np.testing.assert_allclose(wanted.norm(dim=1), 1, atol=1e-5)
    export.export(model, read, Format.onnx, tmp_path / "model.onnx", pictures)
    np.testing.assert_allclose(graphs.load_onnx(tmp_path / "model.onnx")(batch), wanted, atol=1e-4)


def test_before_the_first_round_a_batch_has_its_size(folder: Path) -> None:
    run = coloured.begin(folder)
    rows, instances = run.batches.sampler(0)
    assert len(rows) == 16 and instances == 4
    assert run.learner.memory.centres.shape == (len(run.people) // 2, 256)


def test_other_backbones_are_refused_by_name(folder: Path) -> None:
    recipe = coloured.begin(folder).recipe
    recipe.learner(zoo.create_model("resnet18"), np.full(9, -1))
    with pytest.raises(
        CionError,
        match=r"finetune\.cluster_contrast: ConvNeXt is not .* valid: resnet18, .*resnet50_ibn",
    ):
        recipe.learner(zoo.create_model("test_convnext"), np.full(9, -1))


@pytest.mark.parametrize(
    ("changes", "labels", "message"),
    [
        (
            {},
            np.full(96, -1),
            r"0 clusters among 96 images, 96 of them .*raise .*cluster_contrast\.eps \(0\.6\)",
        ),
        (
            {},
            np.zeros(96, np.int64),
            r"1 clusters among 96 images, 0 of them .*lower finetune\.cluster_contrast\.eps",
        ),
        (
            {"clustering": "linking"},
            np.full(96, -1),
            r"0 clusters.*Set .*cluster_contrast\.clustering to dbscan",
        ),
    ],
)
def test_fewer_than_two_clusters_are_refused_with_advice(
    folder: Path, monkeypatch: pytest.MonkeyPatch, changes: dict, labels: np.ndarray, message: str
) -> None:
    run = coloured.begin(folder, **changes)
    for way in ("dbscan", "link_images"):
        monkeypatch.setattr(cluster_contrast, way, lambda *_: labels)
    with pytest.raises(CionError, match=message):
        run.rows()


def test_a_later_round_without_clusters_goes_on_with_those_of_the_one_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    run = coloured.begin(folder)
    found = [run.people, np.zeros(96, np.int64)]  # then all images are one cluster
    monkeypatch.setattr(cluster_contrast, "dbscan", lambda *_: found.pop(0))
    clusters = {row["clusters"] for row in run.rows()}
    assert not found and clusters == {len(np.unique(run.people))}
    assert "1 clusters among 96 images" in capsys.readouterr().out


def purity(labels: np.ndarray, people: np.ndarray) -> float:
    """Share of the clustered images whose person is that of most of their cluster."""
    kept = labels >= 0
    most = [np.bincount(people[labels == cluster]).max() for cluster in range(labels.max() + 1)]
    return sum(most) / kept.sum()


def test_clusters_become_pure(folder: Path) -> None:
    first = coloured.begin(folder)
    begun = first.recipe.find_labels(first.learner, first.batches.images, first.batches.cameras)
    run = coloured.begin(folder, epochs=4, iterations=8, group=None, decay_every=10)
    rows = run.rows(checkpoint_every=50)
    found, kept = run.batches.people, run.batches.people >= 0
    assert purity(begun, run.people) < 0.9 < 0.95 < purity(found, run.people)
    assert kept.mean() > 0.9 and set(run.people[kept]) == set(range(8))
    assert rows[-1]["silhouette"] > rows[0]["silhouette"] + 0.2


def test_linking_is_another_way_to_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = coloured.begin(folder, clustering="linking")
    rng = np.random.default_rng(0)
    found = unit(rng.normal(size=(8, 256))[run.people] + 0.5 * rng.normal(size=(96, 256)))
    monkeypatch.setattr(cluster_contrast, "extract_features", lambda *_: found)
    labels = run.recipe.find_labels(run.learner, run.batches.images, run.batches.cameras)
    assert labels.tolist() == clustering.link_images(found, run.batches.cameras).tolist()
    assert purity(labels, run.people) == 1 and (labels >= 0).mean() > 0.7
